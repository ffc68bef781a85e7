"""Spans in this process: their names, whose children they are, what is an error, and what costs nothing when off."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
from grpc import StatusCode
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.jaeger import JaegerPropagator
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from proxy.errors import RedisUnavailableError
from proxy.telemetry import span_names, tracing
from proxy.telemetry.span_names import RedisPeer

READ = "/media.MediaService/GetFilesByModel"
PEER = RedisPeer("redis", 6379)
_SPAN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"
REMOTE, UNSAMPLED = ("traceparent", f"{_SPAN}-01"), ("traceparent", f"{_SPAN}-00")


@pytest.fixture
def ended() -> Iterator[InMemorySpanExporter]:
    """Tracing is on; the spans that have ended."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    propagator = TraceContextTextMapPropagator()
    tracing.use(tracing.Tracing(provider.get_tracer("tests"), propagator, frozenset(propagator.fields)))
    yield exporter
    tracing.use(None)
    provider.shutdown()


def _server(*metadata: tuple[str, str | bytes], method: str = READ) -> tracing.Scope:
    return tracing.server_span(method, metadata, {})


def _last(ended: InMemorySpanExporter) -> ReadableSpan:
    return ended.get_finished_spans()[-1]


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("media:50056", "media", 50056),
        ("127.0.0.1:50056", "127.0.0.1", 50056),
        ("[::1]:50056", "::1", 50056),
        ("dns:///media:50056", "media", 50056),
        ("dns://8.8.8.8/media:50056", "media", 50056),
        ("dns:media:50056", "media", 50056),
        ("ipv4:10.0.0.1:50056", "10.0.0.1", 50056),
        ("ipv6:[::1]:50056", "::1", 50056),
        ("ipv4:10.0.0.1:1,10.0.0.2:2", "10.0.0.1:1,10.0.0.2:2", None),
        ("unix:/run/media.sock", "/run/media.sock", None),
        ("unix:///run/media.sock", "/run/media.sock", None),
        ("unix:media.sock", "media.sock", None),
        ("unix-abstract:media", "media", None),
        ("dns:///media", "media", None),
        ("xds:///media", "media", None),
    ],
)
def test_where_a_server_is(address: str, host: str, port: int | None) -> None:
    expected: dict[str, str | int] = {"server.address": host}
    assert span_names.place(address) == (expected if port is None else expected | {"server.port": port})


class TestOff:
    def test_nothing_is_made_and_metadata_is_the_same_object(self) -> None:
        metadata = (REMOTE, ("tracestate", "a=1"))
        with _server(REMOTE) as server:
            with tracing.client_span(READ, {}), tracing.redis_span((b"HGET", b"key"), PEER), tracing.refresh_span():
                with tracing.event_span({}, "", "", "", {}), tracing.application_span("media_cache.read"):
                    assert tracing.injected(metadata) is metadata
                    assert tracing.ids() is None
                    assert tracing.here() is None
            server.ended(StatusCode.INTERNAL)

    def test_what_is_told_of_a_call_goes_nowhere(self) -> None:
        tracing.answered("hit", "redis")
        tracing.about("user")
        tracing.link(None)
        assert tracing.here() is None


class TestSpans:
    def test_a_span_is_current_inside_and_what_was_before_is_after(self, ended: InMemorySpanExporter) -> None:
        with _server() as server:
            outer = tracing.here()
            with tracing.client_span(READ, {}) as client:
                assert tracing.here() != outer
                client.ended(StatusCode.OK)
            assert tracing.here() == outer
            server.ended(StatusCode.OK)
        assert tracing.here() is None
        client_span, server_span = ended.get_finished_spans()
        assert client_span.parent == server_span.context == outer

    def test_several_traceparents_or_one_that_is_none_make_no_error(self, ended: InMemorySpanExporter) -> None:
        for metadata in ([("traceparent", "x")], [("traceparent", b"\xff")], [REMOTE, REMOTE], [("tracestate", "=,=")]):
            with _server(*metadata):
                pass
        assert len(ended.get_finished_spans()) == 4

    def test_what_a_caller_makes_up_is_cut(self, ended: InMemorySpanExporter) -> None:
        with _server(method="/x.Y/" + "z" * 5000):
            tracing.about("t" * 5000)
        span = _last(ended)
        assert span.name == "grpc"
        assert span.attributes is not None
        assert {key: len(str(value)) for key, value in span.attributes.items()} == {
            "rpc.system.name": 4,
            "rpc.method": len("_OTHER"),
            "rpc.method_original": 128,
            "media_cache.model_type": 128,
        }

    @pytest.mark.parametrize("code", list(StatusCode))
    def test_which_statuses_are_errors(self, ended: InMemorySpanExporter, code: StatusCode) -> None:
        with _server() as server:
            with tracing.client_span(READ, {}) as client:
                client.ended(code)
            server.ended(code)
        client_span, server_span = ended.get_finished_spans()
        assert client_span.status.is_ok == (code is StatusCode.OK)
        assert server_span.status.is_ok == (code not in span_names.SERVER_ERRORS)
        assert server_span.status.description is None

    async def test_a_call_that_is_cancelled_says_so(self, ended: InMemorySpanExporter) -> None:
        with _server():
            with pytest.raises(asyncio.CancelledError), tracing.client_span(READ, {}):
                raise asyncio.CancelledError
        assert (ended.get_finished_spans()[0].attributes or {})["rpc.status_code"] == "CANCELLED"

    def test_a_fault_of_ours_names_its_type_alone(self, ended: InMemorySpanExporter) -> None:
        with _server():
            with pytest.raises(ValueError, match="secret"), tracing.client_span(READ, {}):
                raise ValueError("secret")
        span = ended.get_finished_spans()[0]
        assert (span.attributes or {})["error.type"] == "ValueError"
        assert "secret" not in span.to_json()


class TestUnsampled:
    @pytest.fixture(autouse=True)
    def heeding(self, ended: InMemorySpanExporter) -> None:
        assert tracing._tracing is not None
        tracing.use(replace(tracing._tracing, heeds_traceparent=True))

    @pytest.mark.parametrize("flags", ["00", "02", "fe"])
    def test_a_call_passes_unchanged(self, ended: InMemorySpanExporter, flags: str) -> None:
        metadata = (("a", "b"), ("traceparent", f"{_SPAN}-{flags}"), ("tracestate", "x=y"))
        with _server(*metadata), tracing.client_span(READ, {}), tracing.redis_span((b"GET", b"key"), PEER):
            assert tracing.injected(metadata) is metadata
            assert tracing.ids() is None
        assert ended.get_finished_spans() == ()

    @pytest.mark.parametrize("value", [f"{_SPAN}-01", f"{_SPAN}-03", "", "00", f"{_SPAN}-00-x", "x" * 54 + "0", b"0"])
    def test_only_of_what_is_one_surely(self, ended: InMemorySpanExporter, value: str | bytes) -> None:
        with _server(("traceparent", value)):
            pass
        assert len(ended.get_finished_spans()) == 1


class TestRedis:
    def test_only_inside_a_span_that_is_recorded(self, ended: InMemorySpanExporter) -> None:
        with tracing.redis_span((b"HGET", b"key"), PEER):
            pass
        with _server(UNSAMPLED), tracing.redis_span((b"HGET", b"key"), PEER):
            pass
        assert ended.get_finished_spans() == ()
        with _server(), tracing.redis_span((b"HGET", b"key"), PEER):
            pass
        assert [span.name for span in ended.get_finished_spans()] == ["HGET", READ[1:]]

    def test_a_failure_is_an_error_and_a_cancellation_is_not(self, ended: InMemorySpanExporter) -> None:
        with _server():
            with pytest.raises(RedisUnavailableError), tracing.redis_span((b"HGET", b"key"), PEER):
                raise RedisUnavailableError("at redis:6379")
            with pytest.raises(asyncio.CancelledError), tracing.redis_span((b"HGET", b"key"), PEER):
                raise asyncio.CancelledError
        failed, cancelled, _ = ended.get_finished_spans()
        assert (failed.status.is_ok, (failed.attributes or {})["error.type"]) == (False, "RedisUnavailableError")
        assert (cancelled.status.is_ok, "error.type" in (cancelled.attributes or {})) == (True, False)

    async def test_one_whose_reply_nobody_waits_for_ends_with_it(self, ended: InMemorySpanExporter) -> None:
        replies = [asyncio.get_running_loop().create_future() for _ in range(3)]
        answered, failed, cancelled = replies
        with _server():
            server = tracing.here()
            for reply, batch in zip(replies, (1, 3, 1), strict=True):
                tracing.redis_sent((b"EVALSHA", b"sha"), PEER, reply, batch)
                assert tracing.here() == server
        tracing.redis_sent((b"EVALSHA", b"sha"), PEER, asyncio.get_running_loop().create_future(), 1)
        assert [span.name for span in ended.get_finished_spans()] == [READ[1:]]
        answered.set_result(b"OK")
        failed.set_exception(RedisUnavailableError("at redis:6379"))
        cancelled.cancel()
        await asyncio.sleep(0)
        _, *sent = ended.get_finished_spans()
        assert [(span.name, span.status.is_ok, span.parent) for span in sent] == [
            ("EVALSHA", True, server),
            ("PIPELINE", False, server),
            ("EVALSHA", True, server),
        ]
        assert (sent[1].attributes or {})["error.type"] == "RedisUnavailableError"


class TestOfApplication:
    """As a library: the application's own tracer provider and propagator, which are OpenTelemetry's globals."""

    @pytest.fixture
    def ended(self, monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
        exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
        return exporter

    def test_reads_are_below_the_applications_span_while_somebody_is_in(self, ended: InMemorySpanExporter) -> None:
        with tracing.of_application("1"):
            with tracing.of_application("1"):
                pass
            with (
                trace.get_tracer("its own").start_as_current_span("outer") as outer,
                tracing.application_span("media_cache.read"),
            ):
                assert dict(tracing.injected((("traceparent", "x"), ("baggage", "b")))).keys() == {
                    "traceparent",
                    "baggage",
                }
                with tracing.client_span(READ, {}):
                    pass
        assert tracing._tracing is None
        client, read, _ = ended.get_finished_spans()
        assert (read.name, read.kind, read.parent) == ("media_cache.read", SpanKind.INTERNAL, outer.get_span_context())
        assert client.parent == read.context

    def test_one_that_traces_nothing_costs_no_spans_and_changes_no_metadata(self) -> None:
        metadata = (("a", "b"),)
        with tracing.of_application("1"), tracing.application_span("media_cache.read"):
            assert tracing.injected(metadata) is metadata
            assert tracing.here() is None

    def test_what_serve_traces_with_stays(self, ended: InMemorySpanExporter) -> None:
        propagator = TraceContextTextMapPropagator()
        ours = tracing.Tracing(trace.get_tracer("serve"), propagator, frozenset(propagator.fields))
        tracing.use(ours)
        try:
            with tracing.of_application("1"):
                assert tracing._tracing is ours
            assert tracing._tracing is ours
        finally:
            tracing.use(None)


class TestLinks:
    def test_to_another_span_and_never_to_itself(self, ended: InMemorySpanExporter) -> None:
        with _server():
            leader = tracing.here()
            tracing.link(leader)
        with _server():
            tracing.link(leader)
            tracing.link(None)
        first, second = ended.get_finished_spans()
        assert first.links == ()
        assert [link.context for link in second.links] == [leader]

    @pytest.mark.parametrize("value", [REMOTE[1], REMOTE[1].encode(), bytearray(REMOTE[1].encode())])
    def test_a_publisher_named_in_any_case_as_text_or_bytes(self, ended: InMemorySpanExporter, value: object) -> None:
        with tracing.event_span({"TraceParent": value, "x": None}, "ex", "key", "queue", {}):
            pass
        [link] = _last(ended).links
        assert trace.format_span_id(link.context.span_id) == "b7ad6b7169203331"

    def test_a_refresh_outlives_the_read_without_being_its_child(self, ended: InMemorySpanExporter) -> None:
        with _server():
            read = tracing.here()
            with tracing.refresh_span():
                pass
        refresh = ended.get_finished_spans()[0]
        assert refresh.parent is None
        assert [link.context for link in refresh.links] == [read]


_HEADERS = ("traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "uber-trace-id")
_HEX = st.text("0123456789abcdefABCDEF-:._ d", max_size=60)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(_HEADERS), st.one_of(st.text(), _HEX, st.binary()), max_size=7))
def test_no_metadata_can_fail_a_call(headers: dict[str, str | bytes]) -> None:
    every = [TraceContextTextMapPropagator(), B3MultiFormat(), B3SingleFormat(), JaegerPropagator()]
    provider = TracerProvider(shutdown_on_exit=False)
    tracing.use(tracing.Tracing(provider.get_tracer("tests"), CompositePropagator(every), frozenset(_HEADERS)))
    try:
        with _server(*headers.items()), tracing.client_span(READ, {}):
            sent = dict(tracing.injected(tuple(headers.items())))
            assert {"traceparent", "b3", "uber-trace-id"} <= set(sent)
            assert all(isinstance(value, str) and value.isprintable() and value.isascii() for value in sent.values())
    finally:
        tracing.use(None)
