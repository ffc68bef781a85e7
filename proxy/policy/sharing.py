"""Whose stored answers a flush of one service's share must remove: also those of services that depend on its tags.

A share is flushed where nobody can say what of a service has changed: any of its tags may have. Which of another
service's answers lie under these, or have them as further tags, only the expressions tell:
    named     by a service: what its reads' tags, its writes' and its events' begin with
    concerned a service with a read whose tag, or a further tag of whose answers, may be one of those
What begins with a text that some service names is that service's; what no text tells may be anybody's. So the built-in
service, whose tags only messages tell, is concerned by no other.
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
