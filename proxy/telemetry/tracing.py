"""Spans: where each begins and ends, where its parent comes from, and what is propagated. `span_names` has the names.

    gateway ─▶ SERVER shop.Products/Get          media_cache.result, .tier, .model_type (the tag's kind)
                 ├─ CLIENT HGET                   Redis, without keys or values
                 ├─ CLIENT EVALSHA acquire
                 ├─ CLIENT shop.Products/Get ─▶ upstream
                 └─ CLIENT PIPELINE               the fill; nobody waits for it
    CONSUMER process <queue>       a trace of its own, linked to the publisher's span
    INTERNAL media_cache.refresh   a trace of its own, linked to the read that was answered stale
    INTERNAL media_cache.read      in place of the SERVER span in an application (`media_cache.py`); .invalidate, too

Tracing is off until `span_export` calls `use`, and for each call that its caller does not sample. Then the caller's
trace metadata passes unchanged, and the call costs only a few reads of a global.

No span holds metadata, a body, a key, a value or an error message, since these may be secret.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Self

from grpc import StatusCode
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import Link, Span, SpanContext, SpanKind
from opentelemetry.trace import StatusCode as SpanStatus

from proxy.calls.call import Metadata
from proxy.telemetry import span_names as names

NAME = "media-cache-proxy"
"""The name of the tracer."""


@dataclass(frozen=True, slots=True)
class Tracing:
    """Where spans are sent, and how a trace is propagated between processes."""

    tracer: trace.Tracer
    propagator: TextMapPropagator
    fields: frozenset[str]
    """The metadata keys that the propagator reads or writes; the proxy's values replace the caller's."""
    heeds_traceparent: bool = False
    """The caller's span comes from `traceparent` only, and the proxy samples as that says."""

    def remote(self, pairs: Iterable[tuple[str, object]]) -> Context:
        """The span that these pairs name, as a context; an empty context if they name none."""
        carrier: dict[str, list[str]] = {}
        for key, value in pairs:
            if key in self.fields and isinstance(value, str):
                carrier.setdefault(key, []).append(value)
        return self.propagator.extract(carrier, Context()) if carrier else Context()

    def unsampled(self, metadata: Metadata) -> bool:
        """Whether the caller's trace is not sampled, without parsing it: in production that is true of most calls."""
        if self.heeds_traceparent:
            for key, value in metadata:
                if key == "traceparent" and isinstance(value, str):
                    # 00-<trace id>-<span id>-<flags>, whose last bit is "sampled" (W3C Trace Context, 3.2.2.5).
                    return len(value) == 55 and value.startswith("00-") and value[-1] in "02468ace"
        return False


_tracing: Tracing | None = None
_applications = 0
_current: ContextVar[Span] = ContextVar("current span", default=trace.INVALID_SPAN)
"""Used instead of the SDK's context, which takes ten times as long to read; each call reads it several times."""


def use(tracing: Tracing | None) -> None:
    """Turns tracing on, or off with None. It is one per process, as the current span is one per task."""
    global _tracing  # noqa: PLW0603
    _tracing = tracing


@contextmanager
def of_application(version: str) -> Iterator[None]:
    """Sends spans where the application sends its own, if the cache runs inside one: to OpenTelemetry's global tracer
    provider, with the global propagator. It lasts as long as any such context is open, and has no effect after `use`.
    """
    global _applications  # noqa: PLW0603
    if _tracing is not None and not _applications:
        return (yield)
    if not _applications:
        # On import it reads OTEL_PROPAGATORS and may raise; `serve` reads that variable itself when it traces.
        from opentelemetry.propagate import get_global_textmap  # noqa: PLC0415

        propagator = get_global_textmap()
        # The caller's baggage metadata passes unchanged.
        use(Tracing(trace.get_tracer(NAME, version), propagator, frozenset(propagator.fields) - {"baggage"}))
    _applications += 1
    try:
        yield
    finally:
        _applications -= 1
        if not _applications:
            use(None)


class Scope:
    """A span that is current inside `with`. This base class stands for no span, as when tracing is off."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        return None

    def ended(self, code: StatusCode) -> None:
        """Sets the status with which a remote call ended."""

    def failed(self, why: str) -> None:
        """Records a failure; `why` is from a fixed list."""


class _Active(Scope):
    """`errors` are the statuses of a remote call that count as failures; empty if the span is not of a remote call."""

    __slots__ = ("_ended", "_errors", "_span", "_token")
    _token: Token[Span]

    def __init__(self, span: Span, errors: frozenset[StatusCode] = frozenset()) -> None:
        self._span = span
        self._errors = errors
        self._ended = False

    def __enter__(self) -> Self:
        self._token = _current.set(self._span)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        _current.reset(self._token)
        if kind is not None and not self._ended:
            if not issubclass(kind, asyncio.CancelledError):
                self.failed(kind.__name__)
            elif self._errors:
                self.ended(StatusCode.CANCELLED)
        self._span.end()

    def ended(self, code: StatusCode) -> None:
        self._ended = True
        if self._span.is_recording():
            self._span.set_attribute(names.RPC_STATUS, code.name)
            if code in self._errors:
                self.failed(code.name)

    def failed(self, why: str) -> None:
        self._span.set_attribute(names.ERROR_TYPE, why)
        self._span.set_status(SpanStatus.ERROR)

    def replied(self, reply: "asyncio.Future[object]") -> None:
        """Ends the span, which was never current."""
        error = None if reply.cancelled() else reply.exception()
        if error is not None:
            self.failed(type(error).__name__)
        self._span.end()


_OFF = Scope()


def server_span(method: str, metadata: Metadata, at: names.Place) -> Scope:
    """The span of a call to the proxy; its parent is the caller's span, if the metadata names one."""
    if _tracing is None or _tracing.unsampled(metadata):
        return _OFF
    name, parent, attributes = names.of_rpc(method), _tracing.remote(metadata), names.of_call(method, at)
    return _Active(_tracing.tracer.start_span(name, parent, SpanKind.SERVER, attributes), names.SERVER_ERRORS)


def silent(metadata: Metadata) -> bool:
    """Whether a call with this metadata has no span; for empty metadata, whether tracing is off."""
    return _tracing is None or _tracing.unsampled(metadata)


def client_span(method: str, at: names.Place) -> Scope:
    """The span of a call to upstream, below the current span; `injected` passes it on."""
    if _tracing is None or here() is None:
        return _OFF
    name, attributes = names.of_rpc(method), names.of_call(method, at)
    return _Active(_tracing.tracer.start_span(name, _as_context(), SpanKind.CLIENT, attributes), names.CLIENT_ERRORS)


def redis_span(command: Sequence[bytes], peer: names.RedisPeer) -> Scope:
    """The span of a command to Redis at `peer`, only below a recorded span: alone it would be of no use."""
    return _redis(command, peer) or _OFF


def redis_sent(command: Sequence[bytes], peer: names.RedisPeer, reply: "asyncio.Future[object]", batch: int) -> None:
    """The span of `batch` commands that were sent together and that nobody waits for. It ends with the last reply."""
    scope = _redis(command, peer, batch)
    if scope is not None:
        reply.add_done_callback(scope.replied)


def _redis(command: Sequence[bytes], peer: names.RedisPeer, batch: int = 1) -> _Active | None:
    if _tracing is None or not _current.get().is_recording():
        return None
    name, attributes = names.of_redis(command, peer, batch)
    return _Active(_tracing.tracer.start_span(name, _as_context(), SpanKind.CLIENT, attributes))


def event_span(headers: Mapping[str, object], exchange: str, routing_key: str, queue: str, at: names.Place) -> Scope:
    """The span of a message that is handled, linked to the span that published it, if `headers` name one."""
    if _tracing is None:
        return _OFF
    pairs = ((key.lower(), _text(value)) for key, value in headers.items())
    attributes = names.of_event(exchange, routing_key, queue, at)
    links = _links(trace.get_current_span(_tracing.remote(pairs)))
    return _Active(_tracing.tracer.start_span(f"process {queue}", Context(), SpanKind.CONSUMER, attributes, links))


def application_span(name: str) -> Scope:
    """The span of a request by the application in which the cache runs, below that application's current span."""
    return _OFF if _tracing is None else _Active(_tracing.tracer.start_span(name))


def refresh_span() -> Scope:
    """The span of a background fetch after a stale answer, in a trace of its own, linked to the read."""
    if _tracing is None:
        return _OFF
    return _Active(_tracing.tracer.start_span(names.REFRESH, Context(), links=_links(_current.get())))


def here() -> SpanContext | None:
    """The current span, for links; None if there is none."""
    if _tracing is None:
        return None
    found = _current.get().get_span_context()
    return found if found.is_valid else None


def link(leader: SpanContext | None) -> None:
    """Links the current span to another one that it waits for."""
    if leader is not None:
        span = _current.get()
        if span.is_recording() and span.get_span_context() != leader:
            span.add_link(leader)


def answered(result: str, tier: str | None) -> None:
    """Sets how the current call was answered; `tier` is the tier of the cache, None if the answer is from upstream."""
    if _tracing is not None and (span := _current.get()).is_recording():
        span.set_attribute(names.RESULT, result)
        if tier is not None:
            span.set_attribute(names.TIER, tier)


def about(kind: str) -> None:
    """Sets the kind of tag of the current call or event; nothing if it is known only from a caller's text."""
    if kind and _tracing is not None and (span := _current.get()).is_recording():
        span.set_attribute(names.MODEL_TYPE, names.shortened(kind))


def injected(metadata: Metadata) -> Metadata:
    """Request metadata with the current span instead of the caller's; unchanged if there is no current span."""
    if _tracing is None:
        return metadata
    ours: dict[str, str] = {}
    _tracing.propagator.inject(ours, _as_context())
    if not ours:
        return metadata
    return (*(pair for pair in metadata if pair[0] not in _tracing.fields), *ours.items())


def ids() -> tuple[str, str] | None:
    """The trace id and span id for a log line."""
    span = here()
    return None if span is None else (trace.format_trace_id(span.trace_id), trace.format_span_id(span.span_id))


def _as_context() -> Context:
    return trace.set_span_in_context(_current.get(), Context())


def _links(span: Span) -> list[Link]:
    found = span.get_span_context()
    return [Link(found)] if found.is_valid else []


def _text(value: object) -> object:
    return value.decode("latin-1") if isinstance(value, bytes | bytearray) else value
