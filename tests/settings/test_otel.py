"""OpenTelemetry's variables as `config` shows them."""

from proxy.settings.otel import shown


def test_what_holds_without_any_and_that_nothing_is_traced() -> None:
    assert shown({}) == {
        "OTEL_EXPORTER_OTLP_ENDPOINT": ("", "default"),
        "OTEL_EXPORTER_OTLP_PROTOCOL": ("grpc", "default"),
        "OTEL_PROPAGATORS": ("tracecontext", "default"),
        "OTEL_SERVICE_NAME": ("media-cache-proxy", "default"),
        "OTEL_TRACES_SAMPLER": ("parentbased_always_on", "default"),
    }


def test_what_is_set_and_no_credentials() -> None:
    given = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://user:hunter2@collector:4317",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20hunter2,tenant=hunter2",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "hunter2",
        "OTEL_BSP_MAX_QUEUE_SIZE": "7",
        "OTEL_SERVICE_NAME": " ",
        "PATH": "/bin",
    }
    told = shown(given)
    assert "hunter2" not in str(told)
    assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] == ("https://***@collector:4317", "environment")
    assert told["OTEL_EXPORTER_OTLP_HEADERS"] == ("authorization=***,tenant=***", "environment")
    assert told["OTEL_BSP_MAX_QUEUE_SIZE"] == ("7", "environment")
    assert told["OTEL_SERVICE_NAME"] == ("media-cache-proxy", "default")
    assert "PATH" not in told
