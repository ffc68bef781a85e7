"""The ASGI application that pyvoy loads inside Envoy's interpreter; it loads the proxy while Envoy starts.

pyvoy calls `app` once for its life (ASGI's lifespan protocol) and once for each call. It loads a copy of this file from
the process' private directory (`launch.laid_out`), because it puts Envoy's working directory before everything else on
the path. So no module of the proxy can be imported here until the path is that of `serve`.
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
    """The ASGI application."""
    global _lifespan  # noqa: PLW0603 -- pyvoy knows only this function
    if _lifespan is not None and _lifespan.transport is not None:
        await _lifespan.transport.calls(scope, receive, send)
        return
    _be_where_serve_is(json.loads(Path(__file__).with_suffix(".json").read_text()))
    from proxy import starting  # noqa: PLC0415 -- it cannot be found before

    _lifespan = starting.load("proxy.envoy.lifespan").Lifespan.of_process()
    await _lifespan.run(receive, send)


def _be_where_serve_is(found: Mapping[str, Any]) -> None:
    """Sets the module path and working directory of `serve`, and runs its `.pth` files (editable installs)."""
    sys.path[:] = found["path"]
    for directory in found["sites"]:
        site.addsitedir(directory)
    sys.path[:] = found["path"]
    with suppress(OSError):  # the directory may be gone
        os.chdir(found["directory"])
