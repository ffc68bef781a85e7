"""`Topology`: which `Node` holds a key: one server, the Sentinels' current master, or the owner of the slot.

redis-py finds and reaches servers: its URL parser, Sentinel connection and Cluster slot map. Only the nodes made from
them, and their tasks, are our own.
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
        """The node that holds a key; None while that is not known."""

    def nodes(self) -> Sequence[Node]:
        """All masters known now."""

    def redirected(self, error: AskError, by: Node) -> Node | None:
        """The node that a MOVED or ASK names, which `by` answered; a MOVED also has the map read anew. None when it is
        not known yet.
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
    """The topology for a `REDIS_ADDR`. Without `tls` a rediss address' own options hold, without `probing` it is not
    tried whether Redis takes invalidations.
    """
    if target.kind == "cluster":
        from proxy.store.redis_cluster import Cluster  # noqa: PLC0415 -- takes 5 MB of redis-py that others do not need

        return Cluster(target, scripts, told, tls, probing)
    return OneNode(target, scripts, told, tls, probing)
