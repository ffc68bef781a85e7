"""What pyvoy loads inside Envoy's interpreter: the ASGI application, which loads the proxy when Envoy is under way.

pyvoy calls `app` once for its life (the lifespan protocol of ASGI) and once for each call.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from proxy import starting

if TYPE_CHECKING:
    from proxy.envoy.lifespan import Lifespan

Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

_lifespan: "Lifespan | None" = None


async def app(scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
    """What pyvoy calls."""
    global _lifespan  # noqa: PLW0603 -- pyvoy knows this function and nothing else of us
    if _lifespan is not None and _lifespan.transport is not None:
        await _lifespan.transport.calls(scope, receive, send)
        return
    _lifespan = starting.load("proxy.envoy.lifespan").Lifespan.of_process()
    await _lifespan.run(receive, send)
