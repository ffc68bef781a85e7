"""`OneNode`: a single server, or the master that Sentinels name; they are asked again at every connect."""

from collections.abc import Sequence

from redis.asyncio.connection import ConnectionPool
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import AskError

from proxy.settings.setting_types import RedisTarget
from proxy.store.redis_connecting import CONNECTING, Listeners, Probing, once, options
from proxy.store.redis_greeting import NOT_A_CLUSTER_ADDRESS
from proxy.store.redis_mastership import Naming
from proxy.store.redis_node import Node
from proxy.store.redis_race import race_in
from proxy.store.redis_sentinels import Sentinels
from proxy.store.redis_tls import secure_pool
from proxy.tls import Leg

_SENTINEL_TIMEOUT = 0.2
"""Seconds to connect to one, and for its answer: several may be away, and the connect as a whole has 1 s."""
_BY_SENTINELS = Naming(settling=5.0, look_every=5.0)
"""They know of a promotion after a second, and tell each other every two. The old master loses its replicas at once."""


class OneNode:
    """A single server, or the master that Sentinels name: asked anew at every connect."""

    def __init__(
        self, target: RedisTarget, scripts: Sequence[bytes], told: Listeners, tls: Leg | None, probing: Probing | None
    ) -> None:
        self._sentinels = _sentinels(target) if target.kind == "sentinel" else None
        pool = _single_pool(target) if self._sentinels is None else _sentinel_pool(target, self._sentinels)
        for each in (pool, *(self._sentinels.pools if self._sentinels is not None else ())):
            if tls is not None:
                secure_pool(each, tls)
            race_in(each)
        self._node = Node(
            pool.make_connection,
            scripts,
            told.changed,
            naming=Naming() if self._sentinels is None else _BY_SENTINELS,
            renewed=told.renewed,
            probe=None if probing is None else probing(lambda key: True),
        )

    def node_for(self, key: bytes) -> Node | None:
        return self._node

    def nodes(self) -> Sequence[Node]:
        return (self._node,)

    def redirected(self, error: AskError, by: Node) -> Node | None:
        self._node.drop(NOT_A_CLUSTER_ADDRESS)
        return None

    async def run(self) -> None:
        try:
            await self._node.run()
        finally:
            if self._sentinels is not None:
                await self._sentinels.aclose()


def _single_pool(target: RedisTarget) -> ConnectionPool:
    return ConnectionPool.from_url(target.url, retry=once(), **CONNECTING)


def _sentinels(target: RedisTarget) -> Sentinels:
    """Who is asked for the master: with the URL's TLS options, and the first credentials that they do not mind."""
    given, tls = options(target)
    asking = {name: value for name, value in given.items() if name.startswith("ssl_")}
    asking |= {**CONNECTING, "retry": once(), "ssl": tls}
    asking |= {"socket_timeout": _SENTINEL_TIMEOUT, "socket_connect_timeout": _SENTINEL_TIMEOUT}
    masters: dict[str, str] = {name: given[name] for name in ("username", "password") if name in given}
    if target.sentinel_password:
        return Sentinels(target.nodes, asking, ({"password": target.sentinel_password}, {}))
    return Sentinels(target.nodes, asking, ({}, masters) if masters else ({},))


def _sentinel_pool(target: RedisTarget, sentinels: Sentinels) -> ConnectionPool:
    given, tls = options(target)
    given |= {**CONNECTING, "retry": once()}
    return SentinelConnectionPool(target.master, sentinels, ssl=tls, **given)  # type: ignore[no-untyped-call]
