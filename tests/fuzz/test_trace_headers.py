"""Trace headers: whatever callers and publishers send, no call fails, and what was not to be sampled is not."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.jaeger import JaegerPropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from proxy.calls.call import Metadata
from proxy.telemetry import tracing
from tests.fuzz.budget import budget, damaged

READ = "/media.MediaService/GetFilesByModel"
PROPAGATORS = {
    "w3c": TraceContextTextMapPropagator(),
    "b3": B3SingleFormat(),
    "b3multi": B3MultiFormat(),
    "jaeger": JaegerPropagator(),
    "all": CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator(), JaegerPropagator()]),
}
trace_ids = st.integers(1, 2**128 - 1).map("{:032x}".format) | st.just("0" * 32)
span_ids = st.integers(1, 2**64 - 1).map("{:016x}".format) | st.just("0" * 16)
flags = st.integers(0, 255).map("{:02x}".format)
parents = st.builds("00-{}-{}-{}".format, trace_ids, span_ids, flags)
spoilt = (parents | st.just("k=v,a=b") | st.builds("{}:{}:0:1".format, trace_ids, span_ids)).flatmap(
    lambda text: st.just(text) | damaged(text.encode(), 2).map(lambda raw: raw.decode("latin-1"))
)
names = st.sampled_from(
    ["traceparent", "tracestate", "baggage", "uber-trace-id", "uberctx-a", "b3", "x-b3-traceid", "x-b3-spanid", "other"]
)
pairs = st.lists(st.tuples(names, spoilt | st.text(max_size=9) | st.binary(max_size=9)), max_size=4).map(tuple)


def _tracing(name: str) -> tracing.Tracing:
    propagator = PROPAGATORS[name]
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    fields = frozenset(propagator.fields)
    return tracing.Tracing(provider.get_tracer("tests"), propagator, fields, heeds_traceparent=name == "w3c")


@pytest.fixture(autouse=True, scope="module")
def _off_again() -> Iterator[None]:
    yield
    tracing.use(None)


@budget(600)
@given(pairs | parents.map(lambda text: (("traceparent", text),)))
def test_only_what_the_caller_does_not_sample_is_left_out(metadata: Metadata) -> None:
    """Told by a look at one character; the SDK takes the whole header apart."""
    using = _tracing("w3c")
    if using.unsampled(metadata):
        span = trace.get_current_span(using.remote(metadata)).get_span_context()
        assert not (span.is_valid and span.trace_flags.sampled)


@budget(150)
@given(trace_ids, span_ids, flags)
def test_what_is_written_well_is_told_right(trace_id: str, span_id: str, flag: str) -> None:
    metadata = (("x", "y"), ("traceparent", f"00-{trace_id}-{span_id}-{flag}"))
    assert _tracing("w3c").unsampled(metadata) == (not int(flag, 16) & 1)


@budget(450)
@given(st.sampled_from(sorted(PROPAGATORS)), pairs)
def test_upstream_gets_our_span_in_the_place_of_the_callers(name: str, metadata: Metadata) -> None:
    using = _tracing(name)
    tracing.use(using)
    with tracing.server_span(READ, metadata, {}) as scope:
        sent = tracing.injected(metadata)
        here = tracing.here()
        scope.ended(StatusCode.OK)
    if here is None:
        assert sent == metadata
        return
    others = tuple(pair for pair in metadata if pair[0] not in using.fields)
    assert sent[: len(others)] == others
    told = trace.get_current_span(using.remote(sent)).get_span_context()
    assert (told.trace_id, told.span_id) == (here.trace_id, here.span_id)


@budget(300)
@given(
    st.sampled_from(sorted(PROPAGATORS)),
    st.dictionaries(
        names | st.text(max_size=5),
        spoilt
        | st.binary(max_size=60)
        | st.none()
        | st.integers()
        | st.floats()
        | st.lists(st.integers(), max_size=2)
        | st.just(datetime(2026, 1, 1, tzinfo=UTC)),
        max_size=4,
    ),
)
def test_no_header_of_an_event_fails_it(name: str, headers: dict[str, Any]) -> None:
    tracing.use(_tracing(name))
    with tracing.event_span(headers, "damar.events", "media.event.uploaded", "queue", {}):
        assert tracing.ids() is not None
