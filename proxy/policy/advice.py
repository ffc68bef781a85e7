"""What `policy check` warns about: policies that can be served but are probably mistakes."""

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from proxy.policy.compiled import Policy, Read, Service
from proxy.policy.failures import ExpressionError

SHORT_TTL = 300.0
"""Seconds. A tag that nothing invalidates is taken as intended if its answers live no longer than this."""
_DEPTH = 3
_PROBE = "probe"


def warnings(policy: Policy) -> Iterator[str]:
    """The warnings, one line each."""
    for service in policy.services.values():
        for read in service.reads.values():
            what = f"{service.name}/{read.name}"
            if not _is_invalidated(read, service, policy) and (read.limits.ttl is None or read.limits.ttl > SHORT_TTL):
                yield (
                    f"{what}: no write or event of this policy names its tag ({_shape(_tag(read))}); "
                    "outdated answers live for the whole ttl: name the tag somewhere, or set a ttl of 5m or less"
                )
            if unnamed := sorted(_further(read) - _named(policy)):
                yield (
                    f"{what}: no write or event of this policy names its further tags ({', '.join(unnamed)}), so they "
                    "never remove an answer"
                )
            if not read.limits.keyed:
                yield (
                    f"{what}: is open (metadata: all): whatever callers send besides `vary` reaches the origin, "
                    "and may shape an answer that others get"
                )


def _is_invalidated(read: Read, service: Service, policy: Policy) -> bool:
    """Whether a write or an event names the tag of a read or one of its further tags, judging by their beginnings."""
    if read.aliases is not None and any(write.alias(write.requests.default()) for write in service.writes.values()):
        return True
    return bool({_shape(_tag(read)), *_further(read)} & _named(policy))


def _named(policy: Policy) -> set[str]:
    """The beginnings of the tags that writes and events name."""
    return {_shape(tag) for tag in (*_tags_named(policy), *_literals(policy))}


def _further(read: Read) -> set[str]:
    """The beginnings of a read's further tags that its expression spells out."""
    return {_shape(text) for text in _quoted(read.said.get("further_tags", ""))} - {""}


def _tag(read: Read) -> str:
    try:
        return read.tag_of(_filled(read.requests.default()))
    except ExpressionError:
        return ""


def _tags_named(policy: Policy) -> Iterator[str]:
    for service in policy.services.values():
        for write in service.writes.values():
            try:
                yield from write.invalidates(_filled(write.requests.default()))
            except ExpressionError:
                continue


def _literals(policy: Policy) -> Iterator[str]:
    """The string literals in the expressions of writes and events, since some give tags only for a real message."""
    for service in policy.services.values():
        for write in service.writes.values():
            yield from _quoted(write.said.get("invalidates", ""))
    for event in policy.events:
        yield from _quoted(event.said.get("invalidates", ""))


def _quoted(expression: str) -> list[str]:
    return [single or double for single, double in re.findall(r"'([^'\\]*)'|\"([^\"\\]*)\"", expression)]


def _shape(tag: str) -> str:
    """The beginning of a tag: everything before its first slash."""
    return tag.partition("/")[0]


def _filled(message: Message, depth: int = _DEPTH) -> Message:
    """The message itself, with a value in every field, down to `depth` levels of submessages."""
    for field in message.DESCRIPTOR.fields:
        value = _value(field)
        if field.is_repeated:
            if value is not None:
                getattr(message, field.name).append(value)
        elif value is not None:
            setattr(message, field.name, value)
        elif depth and field.message_type is not None and not field.message_type.GetOptions().map_entry:
            _filled(getattr(message, field.name), depth - 1)
    return message


def _value(field: Any) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return _PROBE.encode() if field.type == FieldDescriptor.TYPE_BYTES else _PROBE
        case FieldDescriptor.CPPTYPE_MESSAGE | FieldDescriptor.CPPTYPE_ENUM:
            return None
        case FieldDescriptor.CPPTYPE_BOOL:
            return True
        case _:
            return 7
