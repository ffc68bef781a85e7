"""Which services a flush of one service's share concerns: the service itself, and those that depend on its tags.

A share is flushed when nobody can say what has changed in a service, so any of its tags may have changed. Only the
policy's expressions show which answers of other services are stored under these tags, or have them as further tags:
    named      the heads of the tags of a service's reads, writes and events
    concerned  a service that has a read whose tag, or one of whose further tags, may have such a head
A tag with a head that some service names belongs to that service; a tag whose head is not in the text may belong to
any. The tags of the built-in service are found only in messages, so a flush of another service does not concern it.
"""

from collections.abc import Collection, Iterator

from proxy.policy.compiled import Policy, Service
from proxy.policy.heads import ANY, Head, heads


def concerned(policy: Policy, services: Collection[str]) -> frozenset[str]:
    """The names of these services, and of those whose answers may depend on their tags."""
    named = {name: frozenset(_named(policy, service)) for name, service in policy.services.items()}
    theirs = {head for name in services for head in named.get(name, {ANY})}
    known = {head for found in named.values() for head in found if head != ANY}
    others = {
        name for name, service in policy.services.items() if any(_of(theirs, known, each) for each in _on(service))
    }
    return frozenset(services) | others


def _of(theirs: set[Head], known: set[Head], on: Head) -> bool:
    """Whether a tag that an answer depends on may be one of theirs."""
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
    """The heads of the tags that a service's answers depend on."""
    for read in service.reads.values():
        if not service.builtin:
            yield from heads(read.said["tag"]) if "tag" in read.said else (ANY,)
        if read.dependent:
            yield from heads(read.said["further_tags"]) if "further_tags" in read.said else (ANY,)
