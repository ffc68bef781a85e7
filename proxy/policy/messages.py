"""`Messages`: parses bytes into messages of one type for expressions, whole or with only the fields that they name.

A write may be one message of 50 MiB, most of it in a field that no expression uses. Parsing would copy it, and passing
it to an expression would copy it again; so only the fields that the expressions name are parsed.
"""

import re
from collections.abc import Iterable, Set
from functools import cached_property

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from proxy.calls.lifetime import unsigned
from proxy.policy import wire
from proxy.policy.failures import ExpressionError


class Messages:
    """Parses the messages of one type."""

    def __init__(self, descriptor: Descriptor, variable: str = "", expressions: Iterable[str] = ()) -> None:
        """`expressions` use a message under the name `variable`. If that is empty, messages are always parsed whole."""
        self._descriptor = descriptor
        self._named = _named(descriptor, variable, expressions) if variable else None

    @cached_property
    def _class(self) -> type[Message]:
        """The message class, made on first use: few of the methods that a policy names may ever be called."""
        return message_factory.GetMessageClass(self._descriptor)

    def whole(self, body: bytes) -> Message | None:
        """The whole message; None if it cannot be parsed or has fields that the descriptors do not know."""
        message = self._class()
        try:
            message.ParseFromString(body)
        except DecodeError:
            return None
        size = message.ByteSize()
        message.DiscardUnknownFields()
        return message if message.ByteSize() == size else None

    def readable(self, body: bytes) -> Message:
        """The message with at least the fields that expressions name; raises ExpressionError if it cannot be parsed."""
        try:
            if self._named is not None:
                body = wire.only(body, self._named)
            message = self._class()
            message.ParseFromString(body)
        except (DecodeError, wire.MalformedError):
            raise ExpressionError(f"it is not a {self._class.DESCRIPTOR.full_name}") from None
        return message

    def default(self) -> Message:
        """A new message with no field set."""
        return self._class()


def without_signatures(message: Message, urls: Set[str]) -> Message:
    """Cuts the query off each of these URLs in the message, in place, and returns it."""
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        if field.message_type is not None:
            if not field.message_type.GetOptions().map_entry:
                for each in values:
                    without_signatures(each, urls)
        elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING and not urls.isdisjoint(values):
            cut = [unsigned(each) if each in urls else each for each in values]
            if field.is_repeated:
                value[:] = cut
            else:
                setattr(message, field.name, cut[0])
    return message


def _named(descriptor: Descriptor, variable: str, expressions: Iterable[str]) -> frozenset[int] | None:
    """The numbers of the fields that expressions name; None if one uses the message as a whole.

    Also None if the type has groups. Names in literals and comments count too: too many fields do no harm.
    """
    names: set[str] = set()
    for text in expressions:
        for match in re.finditer(rf"(?<![\w.]){variable}\b(\s*\.\s*(\w+)\b(?!\s*\())?", text):
            if match[1] is None:
                return None
            names.add(match[2])
    if any(field.type == FieldDescriptor.TYPE_GROUP for field in descriptor.fields):
        return None
    return frozenset(field.number for field in descriptor.fields if field.name in names)
