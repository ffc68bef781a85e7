"""How the benchmarks' own servers on grpc.aio listen: on loopback, with the proxy's channel options."""

from collections.abc import Callable, Sequence

import grpc
import grpc.aio

from proxy.transport.channel_options import SERVER_OPTIONS
from proxy.transport.limits import Limits


async def serve(
    port: int, handlers: Sequence[grpc.GenericRpcHandler], add: Callable[[grpc.aio.Server], None] = lambda _: None
) -> None:
    """Serves until it is killed. `add` registers the servicer, usually by a generated function."""
    server = grpc.aio.server(handlers=handlers, options=(*SERVER_OPTIONS, *Limits().server_options))
    add(server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()
