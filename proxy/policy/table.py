"""The table that `policy check` prints: what a policy caches."""

from collections.abc import Iterator

from proxy.policy.compiled import Policy, Read, Write
from proxy.settings.setting_types import Duration

_LONGEST = 72


def lines(policy: Policy) -> list[str]:
    """The lines of the table: method, read or write, tag, TTL; then the events."""
    if not policy.reads:
        return ["nothing is cached: the policy has no reads"]
    rows = [("METHOD", "", "TAG", "TTL"), *_rows(policy)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        "  ".join([*(f"{text:<{width}}" for text, width in zip(row, widths, strict=False)), row[3]]).rstrip()
        for row in rows
    ]


def _rows(policy: Policy) -> Iterator[tuple[str, str, str, str]]:
    for service in policy.services.values():
        for read in service.reads.values():
            yield f"{service.name}/{read.name}", "read", _cut(read.said["tag"]), _ttl(read)
        for write in service.writes.values():
            yield f"{service.name}/{write.name}", "write", _cut(_named(write)), ""
    for event in policy.events:
        yield f"{event.exchange} {', '.join(event.routing_keys)}", "event", _cut(event.said["invalidates"]), ""


def _ttl(read: Read) -> str:
    ttl = "CACHE_TTL" if read.limits.ttl is None else Duration().text(read.limits.ttl)
    if read.further_tags is None:
        return ttl
    return f"{ttl}, at most {Duration().text(read.limits.ttl_with_further_tags)} (further tags)"


def _named(write: Write) -> str:
    """How a write finds its tags."""
    if "invalidates" in write.said:
        return write.said["invalidates"]
    ways = [f"alias {write.said['alias']}"] if "alias" in write.said else []
    return ", else ".join([*ways, write.look_up.path.rpartition("/")[2]] if write.look_up else ways)


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
