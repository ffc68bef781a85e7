"""`Listing`: what Redis holds for one tag, without bodies, credentials or anything derived from them.

Redis has no command for a part of a hash's value, so a script reads it (`lua/list.lua`); the amount that it reads is
limited, since Redis answers nobody else meanwhile. A look-up takes no lease and fetches nothing.
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
"""The proxy's own hashes have a quarter of it at most."""
_MOST_BYTES = 4 << 20
_BEGINNING = 1024
_TIMEOUT = 1.0


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """One stored answer. Durations in seconds by Redis' clock; None: it could not be read that far."""

    field: str
    """What names the request within the model, as hex: the same on every proxy."""
    bytes: int | None
    """As stored."""
    state: str
    """fresh; stale: expired, may stand in; expired; other run: from before this Redis started, never served;
    other clock: of a later time than now, from before its clock was set back, not served;
    after outage: not served for the moments after an outage; no events: it would be fresh, were events not missing
    (CACHE_TTL_WITHOUT_EVENTS), and may stand in; unread: beyond the bound of one look-up; unreadable.
    """
    method: str | None = None
    """Of which service and method it is an answer."""
    request: Mapping[str, Any] | None = None
    """The request's fields; of some of them below."""
    model_type: str | None = None
    collection: str | None = None
    page: int | None = None
    per_page: int | None = None
    by_caller: bool | None = None
    """Only for callers with the same vary-metadata."""
    age: float | None = None
    ttl: float | None = None
    """Until it is no longer fresh."""
    stale_ttl: float | None = None
    """Until it cannot even stand in."""
    this_run: bool | None = None
    """Written under the Redis process that runs now."""
    further_tags: list[str] | None = None
    """On which the answer depends besides; None: it was not looked into (`proxy.store.relations`)."""


@dataclass(frozen=True, slots=True)
class ListedLease:
    """A fetch that may fill a field, as Redis knows it."""

    field: str
    age: float
    ttl: float
    """Below 0: it has run out, and whoever asks next takes it over."""
    this_run: bool


@dataclass(frozen=True, slots=True)
class ListedDependant:
    """A tag under which answers depend on this one: its invalidation removes them too."""

    tag: str
    ttl: float
    """Seconds for which it is remembered."""


@dataclass(slots=True)
class Listing:
    """All of one model."""

    key: str
    """The Redis key of its hash."""
    fields: int = 0
    ttl: float | None = None
    """Until Redis drops the hash."""
    entries: list[ListedEntry] = field(default_factory=list)
    leases: list[ListedLease] = field(default_factory=list)
    closed_for: float = 0.0
    """Seconds that no lease is given yet, after an event."""
    marked: bool = False
    """The mark of an invalidation is there."""
    writes: list[float] = field(default_factory=list)
    """Seconds that each write under way may still keep the model uncached."""
    dependants: list[ListedDependant] = field(default_factory=list)
    """The first hundred."""
    dependants_count: int = 0
    problem: str = ""
    """What else is wrong with it, in one line."""


async def listing(topology: Topology, key: bytes, gap: EventGap, reads: Mapping[str, Read]) -> Listing:
    """What the hash at `key` holds; RedisUnavailableError when that cannot be told now. `reads` are the policy's."""
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
    """The number; 0 for foreign bytes."""
    return int(text) if re.fullmatch(rb"-?[0-9]{1,16}", text) else 0
