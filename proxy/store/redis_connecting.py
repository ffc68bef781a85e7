"""Connecting with redis-py: its options, and who is told of the result."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from proxy.settings.setting_types import RedisTarget
from proxy.store.write_probe import WriteProbe

Changed = Callable[[bool, str], None]
Probing = Callable[[Callable[[bytes], bool]], WriteProbe]
"""Makes the probe of a node; the argument says whether the node owns a key."""

CONNECTING: dict[str, Any] = {
    "protocol": 2,
    "socket_connect_timeout": 1.0,
    "socket_keepalive": True,
    # A `Link` has its own deadlines. redis-py would enforce this one with Python 3.11's asyncio.wait_for, which loses a
    # cancellation that arrives together with the result.
    "socket_timeout": None,
}


@dataclass(frozen=True, slots=True)
class Listeners:
    """Callbacks for the state of Redis. `changed`: all of it has become usable, or unusable for a reason. `renewed`:
    another server is master, see `Mastership`.
    """

    changed: Changed
    renewed: Callable[[float | None], None] = lambda since: None


def once() -> Retry:
    """No retries, because a `Link` has its own."""
    return Retry(NoBackoff(), 0)


def options(target: RedisTarget) -> tuple[dict[str, Any], bool]:
    """What the URL says besides the address: credentials, database and TLS options; and whether it asks for TLS."""
    options: dict[str, Any] = dict(parse_url(target.url))
    tls = options.pop("connection_class", None) is not None
    return {key: value for key, value in options.items() if key not in {"host", "port"}}, tls
