"""`Listing`: what Redis holds for one tag, without bodies, credentials or anything derived from them.

Redis has no command that reads part of a hash's value, so a script does it (`lua/list.lua`). The amount that it reads
is limited, because Redis answers nobody else meanwhile. A look-up takes no lease and fetches nothing.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.calls.entry import VERSION
from proxy.calls.event_gap import EventGap
from proxy.calls.keys import split_prefixed
from proxy.calls.reads import Read
from proxy.errors import UnexpectedReplyError
from proxy.store.redis_node import Budget, Node
from proxy.store.redis_scripts import Script
from proxy.store.redis_topology import Topology
from proxy.store.script_runs import run_script

_LIST = Script("list")
_MOST_FIELDS = 1024
"""Maximum number of fields that are listed. The proxy's own hashes have at most a quarter of it."""
_MOST_BYTES = 4 << 20
_BEGINNING = 1024
_TIMEOUT = 1.0


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """One stored answer. Durations are in seconds by Redis' clock. None means that this part could not be read."""

    field: str
    """The request's name within the model, in hex; the same on every proxy."""
    bytes: int | None
    """The stored size."""
    state: str
    """fresh;
    stale: expired, but may stand in while upstream is away;
    expired;
    other run: written before this Redis started, never served;
    other clock: born later than now, so written before the clock was set back, not served;
    after outage: not served for 2 s after an outage;
    no events: no longer fresh only because events are missing (CACHE_TTL_WITHOUT_EVENTS); may stand in;
    unread: beyond the amount that one look-up reads;
    unreadable.
    """
    method: str | None = None
    """The service and method that the answer is from, as `package.Service/Method`."""
    request: Mapping[str, Any] | None = None
    """The request's fields; some of them are repeated below."""
    model_type: str | None = None
    collection: str | None = None
    page: int | None = None
    per_page: int | None = None
    by_caller: bool | None = None
    """Whether it is served only to callers with the same vary-metadata."""
    age: float | None = None
    ttl: float | None = None
    """How much longer it is fresh."""
    stale_ttl: float | None = None
    """How much longer it may stand in."""
    this_run: bool | None = None
    """Whether it was written under the current run id of Redis."""
    further_tags: list[str] | None = None
    """The further tags that the answer depends on; None if that was not determined (`proxy.store.relations`)."""


@dataclass(frozen=True, slots=True)
class ListedLease:
    """A lease, held by a fetch that may fill a field. Durations are in seconds."""

    field: str
    age: float
    ttl: float
    """Negative once it has expired; the next reader takes it over."""
    this_run: bool
    """Whether it was granted under the current run id of Redis."""


@dataclass(frozen=True, slots=True)
class ListedDependant:
    """A tag whose answers depend on the listed tag, and are removed with it."""

    tag: str
    ttl: float
    """Seconds until it is forgotten."""


@dataclass(slots=True)
class Listing:
    """All that is stored for one tag."""

    key: str
    """The Redis key of its hash."""
    fields: int = 0
    ttl: float | None = None
    """Seconds until Redis drops the hash; None if it does not exist or does not expire."""
    entries: list[ListedEntry] = field(default_factory=list)
    leases: list[ListedLease] = field(default_factory=list)
    closed_for: float = 0.0
    """Seconds for which no lease is granted, after an event."""
    marked: bool = False
    """Whether the hash holds the mark of an invalidation."""
    writes: list[float] = field(default_factory=list)
    """For each write in progress, the seconds for which its intent may still stand."""
    dependants: list[ListedDependant] = field(default_factory=list)
    """At most a hundred of them, sorted by tag."""
    dependants_count: int = 0
    """How many there are."""
    problem: str = ""
    """What is wrong with the hash, in one line; empty if nothing is."""


async def listing(topology: Topology, key: bytes, gap: EventGap, reads: Mapping[str, Read]) -> Listing:
    """Lists the hash at `key`. `reads` are the policy's, by path. Raises RedisUnavailableError."""
    asked: list[Node] = []

    def arguments(node: Node) -> tuple[bytes, ...]:
        asked.append(node)
        return b"%d" % _MOST_FIELDS, b"%d" % _MOST_BYTES, b"%d" % _BEGINNING

    reply = await run_script(topology, _LIST, (key,), arguments, Budget(_TIMEOUT))
    return _told(reply, asked[-1], key, gap, reads)


def _told(reply: object, node: Node, key: bytes, gap: EventGap, reads: Mapping[str, Read]) -> Listing:
    if not isinstance(reply, list) or len(reply) < 3 or len(reply) % 3:
        raise UnexpectedReplyError
    now, count, ttl, *rest = reply
    told = Listing(key.decode(), max(0, count), ttl / 1000 if ttl >= 0 else None)
    if count < 0:
        told.problem = "the key is not a hash; the next invalidation removes it"
    elif count and not rest:
        told.problem = f"the hash has {count} fields, which no proxy writes: they are not listed"
    for name, length, beginning in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        _add(told, name, length, beginning, _Now(now, node.run_id, node.min_born_ms(), gap, reads))
    told.entries.sort(key=lambda each: (each.collection or "", each.page or 0, each.per_page or 0, each.field))
    return told


@dataclass(frozen=True, slots=True)
class _Now:
    ms: float
    run_id: bytes
    min_born_ms: int
    gap: EventGap
    reads: Mapping[str, Read]

    def until(self, ms: int) -> float:
        return round((ms - self.ms) / 1000, 3)


def _add(told: Listing, name: bytes, length: int, beginning: bytes, now: _Now) -> None:
    match name[:1]:
        case b"e":
            told.entries.append(_entry(name[1:].hex(), length, beginning, now))
        case b"l":
            told.leases.extend(_lease(name[1:].hex(), beginning, now))
        case b"w":
            left = now.until(_number(beginning))
            told.writes.extend([left] if left > 0 else [])
        case b"m":
            told.marked = True
            told.closed_for = max(0.0, now.until(_number(beginning.rpartition(b" ")[2])))


def _entry(name: str, length: int, beginning: bytes, now: _Now) -> ListedEntry:
    if length < 0:
        return ListedEntry(name, None, "unread")
    header, newline, rest = beginning.partition(b"\n")
    words = header.split(b" ")
    if not newline or len(words) < 6 or words[0] != VERSION:
        return ListedEntry(name, length, "unreadable")
    born, fresh, stale, identity = map(_number, words[2:6])
    method, digest, request, caller = (*split_prefixed(rest[: abs(identity)]), *[None] * 4)[:4]
    path = None if method is None else method.decode(errors="replace")
    read = now.reads.get(path or "")
    known = read is not None and request is not None and read.digest == digest
    shown = read.shown(request) if read is not None and request is not None and known else {}
    return ListedEntry(
        name,
        length,
        _state(words[1] == now.run_id, born, fresh, stale, now),
        method=None if path is None else path.removeprefix("/"),
        request=shown or None,
        model_type=shown.get("model_type"),
        collection=shown.get("collection_name"),
        page=shown.get("page"),
        per_page=shown.get("per_page"),
        by_caller=None if caller is None else bool(caller),
        age=max(0.0, -now.until(born)),
        ttl=now.until(now.gap.fresh_until_ms(born, fresh, now.ms)),
        stale_ttl=now.until(stale),
        this_run=words[1] == now.run_id,
    )


def _state(this_run: bool, born: int, fresh: int, stale: int, now: _Now) -> str:
    if not this_run:
        return "other run"
    if born > now.ms:
        return "other clock"
    if born < now.min_born_ms:
        return "after outage"
    if now.ms < fresh:
        return "fresh" if now.ms < now.gap.fresh_until_ms(born, fresh, now.ms) else "no events"
    return "stale" if now.ms < stale else "expired"


def _lease(name: str, value: bytes, now: _Now) -> Iterator[ListedLease]:
    words = value.split(b" ")
    if len(words) == 4:
        granted, until = _number(words[2]), _number(words[3])
        yield ListedLease(name, max(0.0, -now.until(granted)), now.until(until), words[0] == now.run_id)


def _number(text: bytes) -> int:
    """The number; 0 if the bytes are not the proxy's."""
    return int(text) if re.fullmatch(rb"-?[0-9]{1,16}", text) else 0
