"""The flush that is wanted or under way, as operators see it: how far it is, and what a command says while it waits."""

import time
from typing import Any

from proxy.core import Core


def told(core: Core) -> dict[str, Any] | None:
    """Ready for JSON; None if there is none. `services` is empty if all are meant. `share` and `tags` say how far it
    is; both are None until it begins, and while Redis does not take it.
    """
    flush = core.invalidations.flush_wanted
    if flush is None or core.store is None:
        return None
    progress = core.store.flushing
    return {
        "reason": flush.reason,
        "services": list(flush.services),
        "seconds": time.monotonic() - flush.since,
        "share": progress.share,
        "tags": None if progress.share is None else progress.tags,
    }


def note(core: Core, trouble: str) -> str:
    """Why an order is not confirmed yet, and what becomes of it."""
    flush = told(core)
    if not trouble and flush is not None and flush["share"] is not None:
        done = f"{flush['share'] * 100:.0f} % after {flush['seconds']:.0f} s"
        return f"the flush is under way ({done}): until it is done, reads bypass the cache"
    return (
        f"Redis has not confirmed it yet ({trouble or 'no answer'}): the proxy retries it, and until then reads bypass "
        "the cache"
    )
