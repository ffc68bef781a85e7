"""What the OTEL_ variables mean to the proxy, and what becomes of spans that no collector takes."""

import logging
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from proxy.errors import StartError
from proxy.telemetry import span_export, tracing
from proxy.telemetry.span_export import SpanExport, _Reporting
from tests.support.servers.waiting import until

READ = "/media.MediaService/GetFilesByModel"


@dataclass
class FakeExporter(SpanExporter):
    """Fails while `failing`, waits while `open` is not set; counts what it took."""

    failing: bool = False
    raising: bool = False
    open: threading.Event = field(default_factory=threading.Event)
    taken: int = 0
    stopped: bool = False

    def __post_init__(self) -> None:
        self.open.set()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.open.wait()
        if self.raising:
            raise ValueError("broken")
        if self.failing:
            logging.getLogger("opentelemetry.exporter.fake").error("told: %s", "no\nroute")
            return SpanExportResult.FAILURE
        self.taken += len(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.stopped = True
        self.open.set()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets OTEL_ variables: `env(TRACES_SAMPLER="always_on")`."""

    def given(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(f"OTEL_{name}", value)

    return given


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reporting(clock: Clock) -> Iterator[_Reporting]:
    reporting = _Reporting(FakeExporter(), "http://collector:4317", clock=clock)
    yield reporting
    reporting.close()


def _fake(reporting: _Reporting) -> FakeExporter:
    assert isinstance(reporting._exporter, FakeExporter)
    return reporting._exporter


class TestStart:
    @pytest.mark.parametrize(
        "variables",
        [
            {},
            {"EXPORTER_OTLP_ENDPOINT": " "},
            {"EXPORTER_OTLP_ENDPOINT": "http://c:4317", "SDK_DISABLED": "TRUE"},
            {"EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4317", "TRACES_EXPORTER": "none"},
            {"EXPORTER_OTLP_ENDPOINT": "http://c:4317", "TRACES_SAMPLER": "Always_Off"},
            {"PROPAGATORS": "nonsense", "TRACES_SAMPLER": "nonsense"},
        ],
    )
    def test_off_unless_a_collector_is_named(self, env: Callable[..., None], variables: dict[str, str]) -> None:
        env(**variables)
        assert span_export.start("1") is None

    @pytest.mark.parametrize(
        ("variable", "value", "line"),
        [
            ("EXPORTER_OTLP_ENDPOINT", "jaeger:4317", "'jaeger:4317' is not understood; accepted: a URL: http://host:"),
            ("EXPORTER_OTLP_TRACES_ENDPOINT", "redis://u:pw@c", "'redis://***@c' is not understood; accepted: a URL"),
            ("EXPORTER_OTLP_PROTOCOL", "http/json", "'http/json' is not understood; accepted: grpc, http/protobuf"),
            ("EXPORTER_OTLP_TRACES_PROTOCOL", "udp", "'udp' is not understood; accepted: grpc, http/protobuf"),
            ("EXPORTER_OTLP_HEADERS", "a=b,Bearer swordfish", "'header 2' is not understood; accepted: name=value"),
            ("TRACES_EXPORTER", "zipkin", "'zipkin' is not understood; accepted: otlp, none"),
            ("TRACES_SAMPLER", "sometimes", "'sometimes' is not understood; accepted: always_on, always_off"),
            ("PROPAGATORS", "b3,w3c", "'w3c' is not understood; accepted: tracecontext, baggage, b3"),
        ],
    )
    def test_what_is_not_understood(self, env: Callable[..., None], variable: str, value: str, line: str) -> None:
        env(EXPORTER_OTLP_ENDPOINT="http://c:4317")
        env(**{variable: value})
        with pytest.raises(StartError) as caught:
            span_export.start("1")
        assert str(caught.value).startswith(f"OTEL_{variable}: {line}")

    @pytest.mark.parametrize("share", ["2", "often", "-0.1", "1.5"])
    def test_a_share_that_is_none(self, env: Callable[..., None], share: str) -> None:
        env(EXPORTER_OTLP_ENDPOINT="http://c:4317", TRACES_SAMPLER="parentbased_traceidratio", TRACES_SAMPLER_ARG=share)
        with pytest.raises(StartError, match=f"OTEL_TRACES_SAMPLER_ARG: '{share}' is not understood; accepted: a sh"):
            span_export.start("1")

    def test_http_without_its_package(self, env: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
        env(EXPORTER_OTLP_ENDPOINT="http://c:4318", EXPORTER_OTLP_PROTOCOL="http/protobuf")
        with pytest.raises(StartError, match=r"accepted: grpc; for .* pip install '\.\[otlp-http\]' in"):
            span_export.start("1")

    def test_what_only_the_sdk_checks_is_one_line_too(self, env: Callable[..., None]) -> None:
        env(EXPORTER_OTLP_ENDPOINT="http://c:4317", SPAN_EVENT_COUNT_LIMIT="many")
        with pytest.raises(
            StartError, match="OTEL_ variables that are set: OTEL_SPAN_EVENT_COUNT_LIMIT must be a non-"
        ):
            span_export.start("1")
        assert tracing.here() is None

    @pytest.mark.parametrize(
        ("variables", "name", "version"),
        [
            ({}, "media-cache-proxy", "1.2"),
            ({"SERVICE_NAME": "cache-eu"}, "cache-eu", "1.2"),
            ({"RESOURCE_ATTRIBUTES": "service.name=a,service.version=9,k8s.pod.name=p"}, "a", "9"),
        ],
    )
    def test_who_we_are(self, env: Callable[..., None], variables: dict[str, str], name: str, version: str) -> None:
        env(**variables)
        attributes = span_export._resource("1.2").attributes
        assert (attributes["service.name"], attributes["service.version"]) == (name, version)
        assert attributes.get("k8s.pod.name") == ("p" if "RESOURCE_ATTRIBUTES" in variables else None)


def _said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Our own lines; pytest shows itself the others too, which reach no log."""
    return [
        (record.levelname, record.message) for record in caplog.records if record.name == "proxy.telemetry.span_export"
    ]


class TestLoss:
    def test_one_warning_a_minute_and_one_line_when_it_is_back(
        self, reporting: _Reporting, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        _fake(reporting).failing = True
        for _ in range(130):  # every second, for two minutes and ten seconds
            assert reporting.export([]) is SpanExportResult.FAILURE
            clock.now += 1
        assert _said(caplog) == [("WARNING", "the trace collector loses spans: told: no route")] * 3
        caplog.clear()
        _fake(reporting).failing = False
        for _ in range(3):
            assert reporting.export([]) is SpanExportResult.SUCCESS
        assert _said(caplog) == [("INFO", "the trace collector is back after 130.0 s")]

    def test_an_exporter_that_raises_is_a_loss_like_any_other(
        self, reporting: _Reporting, caplog: pytest.LogCaptureFixture
    ) -> None:
        _fake(reporting).raising = True
        assert [reporting.export([]) for _ in range(2)] == [SpanExportResult.FAILURE] * 2
        assert _said(caplog) == [("WARNING", "the trace collector loses spans: ValueError: broken")]

    def test_the_libraries_speak_for_themselves_again_afterwards(self) -> None:
        loggers = [logging.getLogger(f"opentelemetry{name}") for name in ("", ".sdk", ".exporter")]
        before = [(logger.level, logger.propagate, list(logger.handlers)) for logger in loggers]
        _Reporting(FakeExporter(), "").close()
        assert [(logger.level, logger.propagate, logger.handlers) for logger in loggers] == before


def _spans(count: int) -> None:
    for _ in range(count):
        with tracing.server_span(READ, (), {}):
            pass


def _export(exporter: SpanExporter) -> SpanExport:
    nothing = CompositePropagator([])
    return SpanExport(exporter, "", lambda tracer: tracing.Tracing(tracer, nothing, frozenset()), "1")


class TestExport:
    async def test_what_a_stuck_exporter_leaves_is_bounded_and_the_loss_is_said(
        self, env: Callable[..., None], caplog: pytest.LogCaptureFixture
    ) -> None:
        env(BSP_MAX_QUEUE_SIZE="100", BSP_MAX_EXPORT_BATCH_SIZE="50", BSP_SCHEDULE_DELAY="10")
        exporter = FakeExporter()
        exporter.open.clear()
        export = _export(exporter)
        try:
            _spans(1000)  # none of them waits
            assert exporter.taken == 0
            exporter.open.set()
            await until(lambda: "spans are made faster than it accepts them" in caplog.text, "the loss to be said")
        finally:
            await export.stop()
        assert 100 <= exporter.taken <= 150
        assert len(_said(caplog)) == 1

    async def test_the_last_spans_are_sent_at_the_end(self, env: Callable[..., None]) -> None:
        env(BSP_SCHEDULE_DELAY="60000")
        exporter = FakeExporter()
        export = _export(exporter)
        _spans(3)
        await export.stop()
        assert (exporter.taken, exporter.stopped) == (3, True)
        _spans(3)
        assert exporter.taken == 3

    async def test_an_end_does_not_wait_for_a_stuck_exporter(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(span_export, "_LAST_SPANS", 0.05)
        exporter = FakeExporter()
        exporter.open.clear()
        export = _export(exporter)
        _spans(1)
        await export.stop()
        assert exporter.stopped
        assert caplog.messages == ["stopping with spans that the collector has not taken"]
