"""Gives each of redis-py's connections the newest certificates of a `Leg`.

redis-py itself takes paths and reads the files at each connection, even incomplete ones.
"""

from typing import TYPE_CHECKING, Any

from redis.asyncio.connection import ConnectionPool, RedisSSLContext, SSLConnection

from proxy.tls import Leg

if TYPE_CHECKING:
    from redis.asyncio.cluster import RedisCluster


class _LegsContext(RedisSSLContext):
    """What an SSLConnection asks for the context of the handshake that it begins."""

    __slots__ = ("_leg",)

    def __init__(self, leg: Leg) -> None:
        super().__init__()
        self._leg = leg

    def get(self) -> Any:
        return self._leg.context


def connections(leg: Leg, base: type[SSLConnection] = SSLConnection) -> type[SSLConnection]:
    """The class of connections that go by the leg's files."""

    class Connection(base):  # type: ignore[valid-type, misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.ssl_context = _LegsContext(leg)

    return Connection


def secure_pool(pool: ConnectionPool, leg: Leg) -> None:
    """For what this pool connects to from now on."""
    secure = pool.connection_class if issubclass(pool.connection_class, SSLConnection) else SSLConnection
    pool.connection_class = connections(leg, secure)


def secure_cluster(cluster: "RedisCluster", leg: Leg) -> None:
    """For asking its nodes for the slot map, and for the nodes that the map names."""
    connection_class = connections(leg)
    cluster.nodes_manager.connection_kwargs["connection_class"] = connection_class
    for node in cluster.nodes_manager.startup_nodes.values():
        node.connection_class = connection_class
