"""`OneNode`: a single server, or the master that Sentinels name; they are asked again for each connection."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from redis.asyncio.connection import ConnectionPool
from redis.exceptions import AskError

from proxy.settings.setting_types import RedisTarget
from proxy.store.redis_connecting import CONNECTING, Listeners, Probing, once
from proxy.store.redis_greeting import NOT_A_CLUSTER_ADDRESS
from proxy.store.redis_mastership import Naming
from proxy.store.redis_node import Node
from proxy.store.redis_race import race_in
from proxy.store.redis_tls import secure_pool
from proxy.tls import Leg

if TYPE_CHECKING:
    from proxy.store.redis_sentinels import Sentinels

_BY_SENTINELS = Naming(settling=5.0, look_every=5.0)
"""A Sentinel learns of a promotion within a second, and Sentinels tell each other every two seconds. The old master
loses its replicas at once."""


class OneNode:
    """The topology of a single server, or of a master that Sentinels name."""

    def __init__(
        self, target: RedisTarget, scripts: Sequence[bytes], told: Listeners, tls: Leg | None, probing: Probing | None
    ) -> None:
        self._sentinels: Sentinels | None = None
        if target.kind == "sentinel":
            from proxy.store import redis_sentinels  # noqa: PLC0415 -- takes 5 MB of redis-py that others do not need

            self._sentinels = redis_sentinels.sentinels_of(target)
            pool = redis_sentinels.pool_of(target, self._sentinels)
        else:
            pool = ConnectionPool.from_url(target.url, retry=once(), **CONNECTING)
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
