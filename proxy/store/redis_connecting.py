"""Connecting with redis-py: its options, and reporting the result."""

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
"""Makes the probe of a node, which is given whether a key is its own."""

CONNECTING: dict[str, Any] = {
    "protocol": 2,
    "socket_connect_timeout": 1.0,
    "socket_keepalive": True,
    # Our links have deadlines of their own; redis-py would enforce this one with Python 3.11's asyncio.wait_for, which
    # loses a cancellation that arrives together with the result.
    "socket_timeout": None,
}


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who is told of Redis. `changed`: it becomes usable and unusable as a whole; `renewed`: another server is master,
    see `Mastership`.
    """

    changed: Changed
    renewed: Callable[[float | None], None] = lambda since: None


def once() -> Retry:
    """No retries: our links have their own."""
    return Retry(NoBackoff(), 0)


def options(target: RedisTarget) -> tuple[dict[str, Any], bool]:
    """What the URL says beside the place: credentials, database, TLS options; and whether it asks for TLS."""
    options: dict[str, Any] = dict(parse_url(target.url))
    tls = options.pop("connection_class", None) is not None
    return {key: value for key, value in options.items() if key not in {"host", "port"}}, tls
