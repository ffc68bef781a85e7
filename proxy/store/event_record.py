"""`EventRecord`: what the proxies of a namespace jointly know about its media events, as one small hash in their Redis.

Another proxy may consume the event of a write through this one, so neither can decide alone whether events are missing.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from uuid import uuid4

from proxy.errors import RedisUnavailableError, UnexpectedReplyError
from proxy.store.redis_link import REDIRECTIONS
from proxy.store.redis_node import Budget
from proxy.store.redis_scripts import Script
from proxy.store.redis_topology import Topology
from proxy.store.script_runs import run_script

_EVENTS = Script("events")
_PATIENCE = 0.5  # seconds for one exchange; nobody's call waits for it
_LIFE_MS = 7 * 86_400_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the record says. `heard_ago`: seconds since any proxy applied an event; None: not in the last week."""

    silent: bool
    heard_ago: float | None
    in_part: bool = False
    """Of the writes through the proxies some have no event of their own, or some events cannot be read, while others
    come and can."""
    overdue: bool = False
    """It would be a silence, if only somebody had been listening for long enough."""
    ended: bool = False
    """What was told now has ended one of these two."""


class EventRecord:
    """Of one namespace. `id` tells one Redis from another; while a proxy runs it outlives what the Redis stores."""

    def __init__(self, topology: Topology, namespace: str, key_of: Callable[[str], bytes] = str.encode) -> None:
        """`key_of` tells the hash of a tag; without it no notes are found there."""
        self._topology = topology
        self._key_of = key_of
        self._key = f"{namespace}:events".encode()
        self._proposed = uuid4().hex
        self.id = ""
        """Empty until the first exchange."""

    async def exchange(
        self,
        *,
        heard_ago: float | None,
        missing: Iterable[tuple[float, float]],
        enough: int,
        over: float,
        listened: float | None,
        outcomes: Iterable[bool] = (),
        readable: Iterable[bool] = (),
    ) -> Verdict:
        """Tells when this process applied an event (seconds ago), and of each write without its event how many seconds
        ago it began and ended; `enough` of them are overdue when the first ended `over` seconds ago, and a silence when
        it ended before this process began to listen, `listened` seconds ago; None: it has not for long enough.
        `outcomes`: of some writes, whether each has had an event of its own; `readable`: of some events, whether each
        named what it changed.
        RedisUnavailableError when Redis does not take it.
        """
        ages = [b"%d" % (seconds * 1000) for pair in missing for seconds in pair]
        heard = b"" if heard_ago is None else b"%d" % (heard_ago * 1000)
        rules = b"" if listened is None else b"%d" % (listened * 1000), b"%d" % enough, b"%d" % (over * 1000)
        proposed = (self.id or self._proposed).encode()
        lists = [b"".join(b"1" if each else b"0" for each in some) for some in (outcomes, readable)]
        arguments = (heard, *rules, proposed, b"%d" % _LIFE_MS, *lists, *ages)
        reply = await run_script(self._topology, _EVENTS, (self._key,), lambda node: arguments, Budget(_PATIENCE))
        if not isinstance(reply, list) or len(reply) != 6:
            raise UnexpectedReplyError
        silent, ago_ms, named, in_part, overdue, ended = reply
        self.id = named.decode("ascii", "replace")
        heard_ago = None if ago_ms < 0 else ago_ms / 1000
        return Verdict(silent == 1, heard_ago, in_part == 1, overdue == 1, ended == 1)

    async def answered(self, tag: str, intent: bytes) -> bool | None:
        """Whether an event has named the tag since the write with this intent began; None: nobody knows."""
        key = self._key_of(tag)
        node = self._topology.node_for(key)
        if node is None:
            return None
        try:
            note = await node.ask(Budget(_PATIENCE), b"HGET", key, b"d" + intent)
        except (RedisUnavailableError, *REDIRECTIONS):
            return None
        return note.startswith(b"a") if isinstance(note, bytes) else None
