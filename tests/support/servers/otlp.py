"""`Collector`: an OTLP receiver on a port, like Jaeger, which keeps the received spans."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.support.servers.children import free_port
from tests.support.servers.waiting import until


@dataclass(frozen=True, slots=True)
class Seen:
    """One span as received; ids are hexadecimal, a root's `parent` is empty."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent: str
    links: tuple[tuple[str, str], ...]
    """Trace id and span id of each."""
    attributes: dict[str, str | int]
    error: bool
    service: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(slots=True)
class Collector(TraceServiceServicer):
    """Receives spans while it runs. `requests` is everything received, for searches for secrets."""

    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    metadata: list[tuple[str, str | bytes]] = field(default_factory=list)
    port: int = field(default_factory=free_port)
    credentials: grpc.ServerCredentials | None = None
    """For TLS; None: plaintext."""
    _server: grpc.aio.Server | None = None

    @property
    def endpoint(self) -> str:
        """The value for OTEL_EXPORTER_OTLP_ENDPOINT."""
        return f"{'https' if self.credentials else 'http'}://127.0.0.1:{self.port}"

    @property
    def spans(self) -> list[Seen]:
        return [
            _seen(span, _attributes(resource.resource.attributes))
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def named(self, name: str, kind: str | None = None) -> list[Seen]:
        """In the order of their arrival."""
        return [span for span in self.spans if span.name == name and kind in (None, span.kind)]

    def children(self, parent: Seen) -> list[str]:
        """Kind and name of a span's children, in the order of their ends."""
        return [str(span) for span in self.spans if span.parent == parent.span_id]

    async def has(self, name: str, kind: str | None = None, *, times: int = 1) -> list[Seen]:
        """Waits for this many spans of this name, and returns them."""
        await until(lambda: len(self.named(name, kind)) >= times, f"{times} spans {kind or ''} {name}")
        return self.named(name, kind)

    async def Export(  # noqa: N802 -- the proto names it
        self, request: ExportTraceServiceRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> ExportTraceServiceResponse:
        """What exporters call."""
        self.requests.append(request)
        self.metadata.extend((key, value) for key, value in context.invocation_metadata() or ())
        return ExportTraceServiceResponse()

    async def start(self) -> Self:
        """Opens the port, the same one each time."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        if self.credentials is None:
            self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        else:
            self._server.add_secure_port(f"127.0.0.1:{self.port}", self.credentials)
        await self._server.start()
        return self

    async def stop(self) -> None:
        """Closes it."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()


class HttpCollector(Collector):
    """The same over HTTP (`http/protobuf`), like Jaeger's on 4318. `metadata` is the headers."""

    _runner: web.ServerRunner | None = None

    async def start(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._take))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _take(self, request: web.BaseRequest) -> web.Response:
        if (request.method, request.path, request.content_type) != ("POST", "/v1/traces", "application/x-protobuf"):
            return web.Response(status=404)
        self.metadata.extend((key.lower(), value) for key, value in request.headers.items())
        self.requests.append(ExportTraceServiceRequest.FromString(await request.read()))
        body = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=body, content_type="application/x-protobuf")


def _seen(span: Span, resource: dict[str, str | int]) -> Seen:
    return Seen(
        span.name,
        Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        _attributes(span.attributes),
        span.status.code == Status.STATUS_CODE_ERROR,
        str(resource["service.name"]),
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, str | int]:
    """Ours are text or whole numbers."""
    return {pair.key: pair.value.int_value or pair.value.string_value for pair in pairs}
