"""Shared by the tests of traces over the wire: a proxy whose spans arrive at once, and traced callers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.servers.otlp import Collector, Seen
from tests.support.servers.process import ProxyProcess

READ = "media.MediaService/GetFilesByModel"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
"""A caller's own span."""
CALLER = (("traceparent", TRACEPARENT),)


@asynccontextmanager
async def traced(collector: Collector, **settings: str) -> AsyncIterator[ProxyProcess]:
    """A proxy that sends its spans every 20 ms."""
    exporting = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "20"} | settings
    async with ProxyProcess(**exporting) as proxy:
        yield proxy


def at(address: str) -> dict[str, str | int]:
    """The attributes that say where a server is."""
    host, _, port = address.rpartition(":")
    return {"server.address": host, "server.port": int(port)}


def rpc(method: str, address: str, code: str = "OK") -> dict[str, str | int]:
    """The attributes of a call of a known method."""
    named: dict[str, str | int] = {"rpc.system.name": "grpc", "rpc.method": method, "rpc.status_code": code}
    return named | at(address)


def names_span(traceparent: object, span: Seen) -> bool:
    """Whether W3C trace metadata names this span, and marks it as sampled."""
    assert isinstance(traceparent, str)
    version, trace_id, span_id, flags = traceparent.split("-")
    return (version, trace_id, span_id) == ("00", span.trace_id, span.span_id) and int(flags, 16) & 1 == 1
