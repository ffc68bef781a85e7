"""`Topology`: which `Node` holds a key: a single server, the Sentinels' current master, or the owner of the slot.

redis-py finds the servers (URL parser, Sentinel connections, Cluster slot map); this package makes the nodes and runs
their tasks.
"""

from collections.abc import Sequence
from typing import Protocol

from redis.exceptions import AskError

from proxy.settings.setting_types import RedisTarget
from proxy.store.redis_connecting import Listeners, Probing
from proxy.store.redis_node import Node
from proxy.store.redis_one_node import OneNode
from proxy.tls import Leg


class Topology(Protocol):
    """Finds nodes; `run` keeps them connected until cancelled."""

    def node_for(self, key: bytes) -> Node | None:
        """The node that holds a key; None while it is not known."""

    def nodes(self) -> Sequence[Node]:
        """All masters known now."""

    def redirected(self, error: AskError, by: Node) -> Node | None:
        """The node that a MOVED or ASK of the node `by` names; None if it is not known yet. After a MOVED, the map is
        read again.
        """

    async def run(self) -> None:
        """Connects and reconnects until cancelled."""


def topology(
    target: RedisTarget,
    scripts: Sequence[bytes],
    told: Listeners,
    tls: Leg | None = None,
    probing: Probing | None = None,
) -> Topology:
    """The topology for a `REDIS_ADDR`. Without `tls`, the TLS options of a `rediss` address apply. Without `probing`,
    it is not checked whether Redis accepts invalidations.
    """
    if target.kind == "cluster":
        from proxy.store.redis_cluster import Cluster  # noqa: PLC0415 -- takes 5 MB of redis-py that others do not need

        return Cluster(target, scripts, told, tls, probing)
    return OneNode(target, scripts, told, tls, probing)
