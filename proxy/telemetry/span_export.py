"""`SpanExport`: a separate thread sends spans to a collector over OTLP. No call waits for it or fails because of it.

It starts only if the standard `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set. The SDK
reads the other standard variables itself, after `otel_rules` has refused values that it would only warn about, or that
would lead to a traceback.

At most `OTEL_BSP_MAX_QUEUE_SIZE` spans (2048) wait to be sent; beyond that the oldest are dropped. If the collector is
away or too slow, there is one warning a minute, and one line when it is back.
"""

import asyncio
import importlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points

from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Tracer

from proxy.errors import SettingError, StartError
from proxy.settings import otel_rules
from proxy.settings.otel import ENDPOINTS, given, tidy, traced
from proxy.settings.redact import without_credentials
from proxy.telemetry import tracing
from proxy.telemetry.log import RateLimit
from proxy.telemetry.otlp_tls import RenewedExporter, collector_leg
from proxy.tls import Given

_CA = ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE")
_CERT = ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")
_KEY = ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY")
_EXPORTERS = {
    "grpc": "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
    "http/protobuf": "opentelemetry.exporter.otlp.proto.http.trace_exporter",
}
_W3C = frozenset({"traceparent", "tracestate"})
_B3 = frozenset({"b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags"})
"""Each of the two B3 propagators reads both forms, so both forms must be replaced by those that the proxy writes."""
_LAST_SPANS = 2.0
"""Maximum seconds that the end of the proxy waits for the last spans to be sent."""
_LONGEST_REASON = 300
_log = logging.getLogger(__name__)


def start(version: str) -> "SpanExport | None":
    """Starts tracing if the environment names a collector, else returns None. StartError: a variable is wrong."""
    if not traced():
        return None
    if faults := otel_rules.wrong():
        raise SettingError(faults[0])
    tidy()
    endpoint = given(*ENDPOINTS)
    propagator, fields = _propagation()
    heeds = fields == _W3C and (given("OTEL_TRACES_SAMPLER") or "parentbased_").lower().startswith("parentbased_")
    try:
        return SpanExport(
            _exporter(endpoint),
            without_credentials(endpoint),
            lambda tracer: tracing.Tracing(tracer, propagator, fields, heeds_traceparent=heeds),
            version,
        )
    except StartError:
        raise
    except Exception as error:  # the SDK raises all kinds for a wrong variable, such as OTEL_BSP_MAX_QUEUE_SIZE=-1
        said = " ".join(str(error).split()) or type(error).__name__
        raise StartError(f"tracing cannot start with the OTEL_ variables that are set: {said}") from error


class SpanExport:
    """Owns the exporting thread until `stop`. `endpoint`, without credentials, is for the log."""

    def __init__(
        self, exporter: SpanExporter, endpoint: str, with_tracer: Callable[[Tracer], tracing.Tracing], version: str
    ) -> None:
        # `_Reporting` logs a loss once a minute, and without callers' metadata, which the propagators' lines show.
        self._library = logging.getLogger("opentelemetry")
        self._library.setLevel(logging.CRITICAL)
        self._reporting = _Reporting(exporter, endpoint)
        self._provider = TracerProvider(resource=_resource(version), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._reporting))
        tracing.use(with_tracer(self._provider.get_tracer(tracing.NAME, version)))
        _log.info("traces are exported", extra={"endpoint": endpoint})

    async def stop(self) -> None:
        """Ends tracing and sends the spans that are left, for at most two seconds."""
        tracing.use(None)
        # The SDK's own bound is 30 s, and its thread sleeps between attempts until the exporter itself is told to end.
        ending = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, _LAST_SPANS)
        if ending.is_alive():
            _log.warning("stopping with spans that the collector has not taken")
            self._reporting.shutdown()
        self._reporting.close()
        self._library.setLevel(logging.NOTSET)


class _Reporting(SpanExporter):
    """Passes batches on. Logs at most once a minute that spans are lost, and once when they no longer are."""

    def __init__(self, exporter: SpanExporter, endpoint: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._exporter = exporter
        self._endpoint = endpoint
        self._clock = clock
        self._limit = RateLimit(clock=clock)
        self._reason, self._attempt = "no answer", ""
        self._full = False
        self._lost_at: float | None = None
        self._lost = 0
        # Only their log lines say why an export failed (the exporter's), and that the queue is full (the SDK's).
        self._overheard = (
            _Overheard("opentelemetry.exporter", logging.WARNING, self._failed),
            _Overheard("opentelemetry.sdk", logging.WARNING, self._dropped),
        )

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Runs in the exporting thread."""
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 -- the SDK would log a traceback for each batch
            self._reason = f"{type(error).__name__}: {error}"
            result = SpanExportResult.FAILURE
        full, self._full = self._full, False
        if result is not SpanExportResult.SUCCESS:
            self._lost += len(spans)
            if self._lost_at is None:
                self._lost_at = self._clock()
            self._complain(self._reason)
            return result
        self._back()
        if full:
            self._complain(
                "spans are made faster than it accepts them, and the oldest are dropped (see OTEL_TRACES_SAMPLER)"
            )
        return result

    def shutdown(self) -> None:
        """Ends the exporter, even while it is sending."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flushes the exporter; nothing is buffered here."""
        return self._exporter.force_flush(timeout_millis)

    def close(self) -> None:
        """Restores the libraries' own logging."""
        for handler in self._overheard:
            handler.close()

    def _complain(self, why: str) -> None:
        if self._limit.admit("lost") is not None:
            fields = {"endpoint": self._endpoint, "spans_lost": self._lost}
            _log.warning("the trace collector loses spans: %s", why, extra=fields)

    def _back(self) -> None:
        if self._lost_at is not None:
            away, lost = self._clock() - self._lost_at, self._lost
            self._lost_at, self._lost = None, 0
            fields = {"endpoint": self._endpoint, "spans_lost": lost, "away_seconds": round(away, 1)}
            _log.info("the trace collector is back after %.1f s", away, extra=fields)

    def _failed(self, record: logging.LogRecord) -> None:
        """Keeps why an export failed. The gRPC exporter's line has the status and its text as arguments; of the HTTP
        exporter's lines, the cause of the last attempt says more than the line that no attempt is left.
        """
        arguments = record.args if isinstance(record.args, tuple) else ()
        code = getattr(arguments[2], "name", None) if len(arguments) == 4 else None
        said = f"{code}: {arguments[3]}" if code else record.getMessage()
        if record.levelno < logging.ERROR:
            self._attempt = str(arguments[0]) if arguments else said
            return
        if "max retries" in said and self._attempt:
            said = self._attempt
        self._attempt = ""
        self._reason = " ".join(said.split())[:_LONGEST_REASON]

    def _dropped(self, record: logging.LogRecord) -> None:
        """Runs in the event loop's thread, so it only sets a flag."""
        if str(record.msg).startswith("Queue full"):
            self._full = True


class _Overheard(logging.Handler):
    """Takes over a library's logger: `heard` is called with its records, which do not reach the log."""

    def __init__(self, name: str, level: int, heard: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self._heard = heard
        self._logger = logging.getLogger(name)
        self._logger.setLevel(level)
        self._logger.propagate = False
        self._logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Passes the record to `heard`."""
        self._heard(record)

    def close(self) -> None:
        """Restores the logger."""
        self._logger.removeHandler(self)
        self._logger.propagate = True
        self._logger.setLevel(logging.NOTSET)
        super().close()


def _exporter(endpoint: str) -> SpanExporter:
    protocol = given(*otel_rules.PROTOCOLS) or "grpc"
    try:
        module = importlib.import_module(_EXPORTERS[protocol])
    except ModuleNotFoundError:
        name = next(name for name in otel_rules.PROTOCOLS if given(name))
        instead = f"grpc; for {protocol} pip install '.[otlp-http]' in the source tree"
        raise SettingError(f"{name}: {protocol!r} is not understood; accepted: {instead}") from None
    leg = collector_leg(*map(_file, (_CA, _CERT, _KEY))) if _over_tls(endpoint) else None
    if leg is not None:
        return RenewedExporter(module.OTLPSpanExporter, protocol, leg)
    exporter: SpanExporter = module.OTLPSpanExporter()
    return exporter


def _over_tls(endpoint: str) -> bool:
    """Decides as the SDK does: by the scheme, or without one by OTEL_EXPORTER_OTLP_INSECURE."""
    return not endpoint.startswith("http://") and (
        endpoint.startswith("https://") or given(*otel_rules.INSECURE).lower() != "true"
    )


def _file(names: Sequence[str]) -> Given:
    return Given(next((name for name in names if given(name)), names[-1]), given(*names))


def _propagation() -> tuple[TextMapPropagator, frozenset[str]]:
    """The propagator that `OTEL_PROPAGATORS` names, and its metadata keys. Baggage is passed on without being read."""
    propagators: list[TextMapPropagator] = []
    fields: set[str] = set()
    names = [name.strip() for name in (given("OTEL_PROPAGATORS") or "tracecontext").split(",")]
    for name in names:
        if name in {"none", "baggage"}:
            continue
        found = entry_points(group="opentelemetry_propagator", name=name)
        propagator: TextMapPropagator = next(iter(found)).load()()
        propagators.append(propagator)
        fields |= propagator.fields
    if fields & _B3:
        fields |= _B3
    [*_, only] = propagators or [CompositePropagator([])]
    return (CompositePropagator(propagators) if len(propagators) > 1 else only), frozenset(fields)


def _resource(version: str) -> Resource:
    """The proxy's name and version, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` give others."""
    told = Resource.create()
    ours = {SERVICE_NAME: tracing.NAME, SERVICE_VERSION: version}
    if not str(told.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service"):
        del ours[SERVICE_NAME]
    if SERVICE_VERSION in told.attributes:
        del ours[SERVICE_VERSION]
    return told.merge(Resource(ours))
