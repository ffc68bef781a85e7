"""Which services a flush of one service's share concerns: itself, and those whose answers depend on its tags.

A share is flushed when nobody can say what has changed in a service, so any of its tags may have. Only the expressions
of the policy tell which answers of other services are stored under these tags, or have them as further tags:
    named     what the tags of a service's reads, writes and events begin with
    concerned a service with a read whose tag, or one of its further tags, may begin so
A tag that begins with what some service names belongs to that service; one whose beginning no text tells may belong to
any. The tags of the built-in service are found only in messages, so a flush of another service does not concern it.
"""

from collections.abc import Collection, Iterator

from proxy.policy.compiled import Policy, Service
from proxy.policy.heads import ANY, Head, heads


def concerned(policy: Policy, services: Collection[str]) -> frozenset[str]:
    """These services, and those whose answers may depend on tags of theirs."""
    named = {name: frozenset(_named(policy, service)) for name, service in policy.services.items()}
    theirs = {head for name in services for head in named.get(name, {ANY})}
    known = {head for found in named.values() for head in found if head != ANY}
    others = {
        name for name, service in policy.services.items() if any(_of(theirs, known, each) for each in _on(service))
    }
    return frozenset(services) | others


def _of(theirs: set[Head], known: set[Head], on: Head) -> bool:
    """Whether what an answer depends on may be a tag of theirs."""
    if any(head != ANY and head.meets(on) for head in theirs):
        return True
    return ANY in theirs and not (on != ANY and any(head.meets(on) for head in known))


def _named(policy: Policy, service: Service) -> Iterator[Head]:
    for read in service.reads.values():
        yield from heads(read.said["tag"]) if "tag" in read.said else (ANY,)
    for write in service.writes.values():
        yield from heads(write.said.get("invalidates", "[]"))
        if "invalidates" not in write.said or "look_up" in write.said:
            yield ANY
    for event in policy.events:
        if event.share == service.name:
            yield from heads(event.said.get("invalidates", ""))


def _on(service: Service) -> Iterator[Head]:
    """What its answers depend on."""
    for read in service.reads.values():
        if not service.builtin:
            yield from heads(read.said["tag"]) if "tag" in read.said else (ANY,)
        if read.dependent:
            yield from heads(read.said["further_tags"]) if "further_tags" in read.said else (ANY,)
