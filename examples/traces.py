"""Spans of the examples, if OTEL_EXPORTER_OTLP_ENDPOINT is set, so that complete traces can be seen.

with tracing("api-gateway") as tracer:
    channel = grpc.aio.insecure_channel(target, interceptors=client_spans(tracer))
    server = grpc.aio.server(interceptors=server_spans(tracer))
"""

import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, Tracer

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@contextmanager
def tracing(service: str) -> Iterator[Tracer | None]:
    """Returns the tracer of a service, or None if tracing is off."""
    if not os.environ.get(_ENDPOINT):
        yield None
        return
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 -- only then
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=500))
    try:
        yield provider.get_tracer(service)
    finally:
        provider.shutdown()


def client_spans(tracer: Tracer | None) -> "Sequence[grpc.aio.ClientInterceptor]":
    """Returns the interceptors for a channel; none without a tracer."""
    return [] if tracer is None else [_ClientSpans(tracer)]


def server_spans(tracer: Tracer | None) -> "Sequence[grpc.aio.ServerInterceptor]":
    """Returns the interceptors for a server; none without a tracer."""
    return [] if tracer is None else [_ServerSpans(tracer)]


class _ClientSpans(grpc.aio.UnaryUnaryClientInterceptor):
    """Makes a CLIENT span for each unary call and sends its context to the server."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    async def intercept_unary_unary(
        self, continuation: Callable[..., Awaitable[Any]], client_call_details: Any, request: Any
    ) -> Any:
        method = client_call_details.method
        name = (method.decode() if isinstance(method, bytes) else method)[1:]
        with self._tracer.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=_attributes(name)) as span:
            ours: dict[str, str] = {}
            propagate.inject(ours)
            metadata = [*(client_call_details.metadata or ()), *ours.items()]
            details = client_call_details._replace(metadata=grpc.aio.Metadata(*metadata))
            call = await continuation(details, request)
            span.set_attribute("rpc.status_code", (await call.code()).name)
            return call


class _ServerSpans(grpc.aio.ServerInterceptor):
    """Makes a SERVER span for each unary call, below the caller's."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        name = handler_call_details.method[1:]
        pairs = {key: value for key, value in handler_call_details.invocation_metadata or () if isinstance(value, str)}
        parent = propagate.extract(pairs)

        async def answer(request: Any, context: Any) -> Any:
            with self._tracer.start_as_current_span(name, parent, SpanKind.SERVER, _attributes(name)):
                return await handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


def _attributes(name: str) -> dict[str, str]:
    return {"rpc.system.name": "grpc", "rpc.method": name}


def current(tracer: Tracer | None, name: str) -> Any:
    """Returns a context in which this span is current, for the work of one call."""
    return (
        trace.use_span(trace.INVALID_SPAN)
        if tracer is None
        else tracer.start_as_current_span(name, kind=SpanKind.SERVER)
    )
