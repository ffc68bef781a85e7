"""Gives each of redis-py's connections the newest certificates of a `Leg`.

redis-py itself takes paths and reads the files for each connection, even while they are being written.
"""

from typing import TYPE_CHECKING, Any

from redis.asyncio.connection import ConnectionPool, RedisSSLContext, SSLConnection

from proxy.tls import Leg

if TYPE_CHECKING:
    from redis.asyncio.cluster import RedisCluster


class _LegsContext(RedisSSLContext):
    """Provides an SSLConnection with the TLS context for its handshake."""

    __slots__ = ("_leg",)

    def __init__(self, leg: Leg) -> None:
        super().__init__()
        self._leg = leg

    def get(self) -> Any:
        return self._leg.context


def connections(leg: Leg, base: type[SSLConnection] = SSLConnection) -> type[SSLConnection]:
    """A subclass of `base` whose connections use the leg's current files."""

    class Connection(base):  # type: ignore[valid-type, misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.ssl_context = _LegsContext(leg)

    return Connection


def secure_pool(pool: ConnectionPool, leg: Leg) -> None:
    """Makes the future connections of a pool use the leg's files."""
    secure = pool.connection_class if issubclass(pool.connection_class, SSLConnection) else SSLConnection
    pool.connection_class = connections(leg, secure)


def secure_cluster(cluster: "RedisCluster", leg: Leg) -> None:
    """Does the same for the nodes that are asked for the slot map, and for those that the map names."""
    connection_class = connections(leg)
    cluster.nodes_manager.connection_kwargs["connection_class"] = connection_class
    for node in cluster.nodes_manager.startup_nodes.values():
        node.connection_class = connection_class
