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
    """What the record says."""

    silent: bool
    """Events are missing: writes through the proxies succeed, but no events arrive."""
    heard_ago: float | None
    """Seconds since any proxy applied an event; None if that was never, or more than a week ago."""
    in_part: bool = False
    """Some of the writes through the proxies have no event of their own, or some events cannot be read, while other
    events arrive and can be read."""
    overdue: bool = False
    """It would be a silence if this process had been listening for long enough."""
    ended: bool = False
    """This exchange ended a silence, or ended events being overdue."""


class EventRecord:
    """The record of one namespace. `id` identifies its Redis, and survives a loss of Redis' data while a proxy runs."""

    def __init__(self, topology: Topology, namespace: str, key_of: Callable[[str], bytes] = str.encode) -> None:
        """`key_of` returns the key of a tag's hash; with the default, `answered` finds no notes."""
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
        """Reports what this process has seen, and returns what all processes together know. Durations are in seconds.

        `heard_ago`: how long ago this process applied an event; None if it has none to report.
        `missing`: how long ago each write without its event began and ended.
        `enough` missing events are overdue once the first write ended `over` ago. They are a silence once it ended
        `listened` ago, which is how long this process has been listening; None means not long enough.
        `outcomes`: for some writes, whether each had an event of its own.
        `readable`: for some events, whether each named what it changed.
        Raises RedisUnavailableError if Redis does not accept the report.
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
        """Whether an event has named the tag since the write with this intent began; None if that is unknown."""
        key = self._key_of(tag)
        node = self._topology.node_for(key)
        if node is None:
            return None
        try:
            note = await node.ask(Budget(_PATIENCE), b"HGET", key, b"d" + intent)
        except (RedisUnavailableError, *REDIRECTIONS):
            return None
        return note.startswith(b"a") if isinstance(note, bytes) else None
