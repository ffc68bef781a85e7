"""A wrong variable of OpenTelemetry is said in one line, by `config` and at the start, like any other wrong setting."""

import pytest

from proxy.cli import run
from proxy.settings.otel_rules import wrong
from tests.support.servers.process import ProxyProcess

COLLECTOR = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
WRONG = {
    "OTEL_SDK_DISABLED": ("yes", "'yes'", "true, false"),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("redis://u:pw@c", "'redis://***@c'", "a URL: http://host:4317, https:// for TLS"),
    "OTEL_TRACES_EXPORTER": ("zipkin", "'zipkin'", "otlp, none"),
    "OTEL_EXPORTER_OTLP_PROTOCOL": ("http/json", "'http/json'", "grpc, http/protobuf"),
    "OTEL_EXPORTER_OTLP_HEADERS": ("a=b,Bearer pw", "'header 2'", "name=value, several separated by commas"),
    "OTEL_RESOURCE_ATTRIBUTES": ("a=b, team", "'team'", "name=value, several separated by commas"),
    "OTEL_EXPORTER_OTLP_COMPRESSION": ("zip", "'zip'", "gzip, or empty for none"),
    "OTEL_EXPORTER_OTLP_TIMEOUT": ("soon", "'soon'", "seconds above 0, like 10"),
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": ("0", "'0'", "seconds above 0, like 10"),
    "OTEL_PROPAGATORS": ("b3,w3c", "'w3c'", "tracecontext, baggage, b3, b3multi, jaeger, none"),
    "OTEL_BSP_SCHEDULE_DELAY": ("-1", "'-1'", "a whole number from 1 to 2147483647"),
    "OTEL_BSP_MAX_QUEUE_SIZE": (
        "100",
        "'100'",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE (512) up to OTEL_BSP_MAX_QUEUE_SIZE (2048)",
    ),
    "OTEL_EXPORTER_OTLP_INSECURE": ("1", "'1'", "true, false"),
    "OTEL_TRACES_SAMPLER": (
        "sometimes",
        "'sometimes'",
        "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, parentbased_traceidratio",
    ),
}
SAMPLER = "OTEL_TRACES_SAMPLER: 'sometimes' is not understood; accepted: always_on, always_off, "


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_one_line(name: str) -> None:
    given, said, accepted = WRONG[name]
    assert wrong({name: given}) == [f"{name}: {said} is not understood; accepted: {accepted}"]


@pytest.mark.parametrize(
    "given",
    [
        {"OTEL_TRACES_SAMPLER": " Always_On ", "OTEL_TRACES_SAMPLER_ARG": "of no use here"},
        {"OTEL_TRACES_SAMPLER": "traceidratio"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1e-3"},
        {"OTEL_EXPORTER_OTLP_TIMEOUT": " ", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "2.5"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "jaeger:4317", "OTEL_EXPORTER_OTLP_INSECURE": "true"},
        {"OTEL_RESOURCE_ATTRIBUTES": "team=media,k8s.pod.name=a%2Cb,", "OTEL_SERVICE_NAME": "any text"},
        {"OTEL_PROPAGATORS": "tracecontext, baggage", "OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_BSP_MAX_QUEUE_SIZE": "100", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "100"},
        {"OTEL_TRACES_SAMPLER": "sometimes", "OTEL_SDK_DISABLED": "True"},
        {"OTEL_TRACES_SAMPLER": "sometimes", "OTEL_TRACES_EXPORTER": "none"},
        {"OTHER": "sometimes"},
    ],
)
def test_what_is_understood(given: dict[str, str]) -> None:
    assert wrong(given) == []


@pytest.mark.parametrize("share", ["2", "often", "-0.1", "nan"])
def test_a_share_that_is_none(share: str) -> None:
    (line,) = wrong({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": share})
    assert line == f"OTEL_TRACES_SAMPLER_ARG: '{share}' is not understood; accepted: a share from 0 to 1, like 0.1"


def test_config_refuses_it_as_serve_does(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "sometimes")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    assert run(["config"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"media-cache-proxy: {SAMPLER}")


@pytest.mark.parametrize("arguments", [["config"], ["config", "--json"]])
def test_config_warns_where_nothing_is_traced(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "sometimes")
    assert run(arguments) == 0
    out, err = capsys.readouterr()
    assert "OTEL_TRACES_SAMPLER" in out
    assert (err.startswith(f"media-cache-proxy: {SAMPLER}"), err.count("\n")) == (True, 1)
    assert err.endswith("; nothing is traced, so it has no effect\n")


def test_config_names_what_it_forwards_for(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ON_BAD_SETTINGS", "forward")
    monkeypatch.setenv("CACHE_TTL", "soon")
    assert run(["config"]) == 0
    assert capsys.readouterr().err.startswith("media-cache-proxy: CACHE_TTL: 'soon' is not understood; accepted: ")


@pytest.mark.usefixtures("each_transport")
async def test_a_start_that_traces_is_refused() -> None:
    proxy = ProxyProcess(**COLLECTOR, OTEL_TRACES_SAMPLER="sometimes")
    proxy.child.spawn()
    try:
        assert await proxy.exited() == 2
        assert SAMPLER in proxy.stderr
        assert "Traceback" not in proxy.stderr
    finally:
        proxy.remove()


@pytest.mark.usefixtures("each_transport")
async def test_a_start_that_does_not_trace_warns() -> None:
    async with ProxyProcess(OTEL_TRACES_SAMPLER="sometimes", OTEL_BSP_SCHEDULE_DELAY="x") as proxy:
        (line,) = await proxy.logged(SAMPLER[:50])
        assert '"level":"warning"' in line.replace(": ", ":")
        assert "; nothing is traced, so it has no effect" in line
        await proxy.logged("OTEL_BSP_SCHEDULE_DELAY: ")


@pytest.mark.usefixtures("each_transport")
async def test_an_empty_variable_counts_as_unset() -> None:
    async with ProxyProcess(**COLLECTOR, OTEL_EXPORTER_OTLP_TIMEOUT="", OTEL_TRACES_SAMPLER=" always_on ") as proxy:
        await proxy.logged("traces are exported")
