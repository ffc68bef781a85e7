"""What pyvoy loads inside Envoy's interpreter: the ASGI application, which loads the proxy while Envoy starts.

pyvoy calls `app` once for its life (the lifespan protocol of ASGI) and once for each call. It loads a copy of this file
from our own directory (`launch.laid_out`), since it puts Envoy's working directory before everything else on the path.
So none of our modules can be imported here until the path is the one that `serve` has.
"""

import json
import os
import site
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    _be_where_serve_is(json.loads(Path(__file__).with_suffix(".json").read_text()))
    from proxy import starting  # noqa: PLC0415 -- could not be found before

    _lifespan = starting.load("proxy.envoy.lifespan").Lifespan.of_process()
    await _lifespan.run(receive, send)


def _be_where_serve_is(found: Mapping[str, Any]) -> None:
    """`serve`'s path for modules, what its `.pth` files do (editable installs), and its working directory."""
    sys.path[:] = found["path"]
    for directory in found["sites"]:
        site.addsitedir(directory)
    sys.path[:] = found["path"]
    with suppress(OSError):  # it may be gone
        os.chdir(found["directory"])
