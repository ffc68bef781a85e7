"""`looked_up`: a listing that includes the further tags of its answers, and the tag's dependants.

Redis keeps the dependants (`Dependants`). The further tags are evaluated again from each answer by the current policy.
Nothing else of an answer is shown.
"""

from collections.abc import Mapping
from dataclasses import replace

from proxy.calls.entry import decode, identity_of
from proxy.calls.event_gap import EventGap
from proxy.calls.keys import Keys, split_prefixed
from proxy.calls.reads import Read, Verdict
from proxy.errors import UnexpectedReplyError
from proxy.store.redis_listing import ListedDependant, ListedEntry, Listing, listing
from proxy.store.redis_node import Budget, Node
from proxy.store.redis_scripts import Script
from proxy.store.redis_topology import Topology
from proxy.store.script_runs import run_script

_RELATIONS = Script("relations")
_MOST_NAMED = 100
_MOST_BYTES = 1 << 20
"""Maximum size of all answers that are read, because Redis answers nobody else meanwhile."""
_TIMEOUT = 1.0


async def looked_up(topology: Topology, keys: Keys, tag: str, gap: EventGap, reads: Mapping[str, Read]) -> Listing:
    """What is stored under a tag. `reads` are the policy's, by path. Raises RedisUnavailableError."""
    told = await listing(topology, keys.of_tag(tag), gap, reads)
    if not any(read.dependent for read in reads.values()):
        return told
    looked = list(_looked_into(told, reads))
    asked: list[Node] = []

    def arguments(node: Node) -> tuple[bytes, ...]:
        asked.append(node)
        return b"%d" % _MOST_NAMED, *(b"e" + bytes.fromhex(entry.field) for entry in looked)

    both = keys.of_tag(tag), keys.of_dependants(tag)
    reply = await run_script(topology, _RELATIONS, both, arguments, Budget(_TIMEOUT))
    if not isinstance(reply, list) or len(reply) != 3:
        raise UnexpectedReplyError
    count, named, values = reply
    further = {
        entry.field: _further_tags(value, reads[f"/{entry.method}"], asked[-1].run_id)
        for entry, value in zip(looked, values, strict=True)
    }
    dependants = [
        ListedDependant(name.decode(errors="replace"), left / 1000)
        for name, left in zip(named[::2], named[1::2], strict=True)
    ]
    return replace(
        told,
        entries=[replace(entry, further_tags=further.get(entry.field)) for entry in told.entries],
        dependants=sorted(dependants, key=lambda each: each.tag),
        dependants_count=count,
    )


def _looked_into(told: Listing, reads: Mapping[str, Read]) -> list[ListedEntry]:
    """The entries whose answers may have further tags, while their total size stays within the limit."""
    left = _MOST_BYTES
    found: list[ListedEntry] = []
    for entry in told.entries:
        read = reads.get(f"/{entry.method}")
        if read is not None and read.dependent and entry.this_run:
            left -= entry.bytes or 0
            if left >= 0:
                found.append(entry)
    return found


def _further_tags(value: bytes, read: Read, run_id: bytes) -> list[str] | None:
    """The further tags of a stored answer, sorted; None if they cannot be determined."""
    identity = identity_of(value)
    parts, stored = split_prefixed(identity), decode(value, run_id=run_id, identity=identity)
    if stored is None or len(parts) < 3 or parts[1] != read.digest:
        return None
    if stored.negative is not None:
        return []
    verdict = read.storable(parts[2], stored.body)
    return sorted(verdict.further_tags) if isinstance(verdict, Verdict) else None
