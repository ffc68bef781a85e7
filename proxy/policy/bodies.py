"""Decodes an AMQP body into the value of `event` in expressions. Pure; raises only `BadBody`.

json       a JSON object
envelope   a JSON object whose `data` holds the event's object: base64-encoded (standard or URL-safe alphabet, padded or
           not), as an object, or as a JSON string. A string that starts with `{` is JSON: base64 has no such character
message    a protobuf message

Numbers stay exact: a whole number becomes an int, however it is written. If a policy declares an event's fields,
`event` is a message with these fields, each read from a number or a text.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError, Message

MAX_BODY_BYTES = 1 << 20
"""Larger bodies are refused before anything is decoded; real ones have a few hundred bytes."""
INT64 = range(-(2**63), 2**63)

_URL_SAFE = str.maketrans("-_", "+/", " \t\r\n=")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")

Body = Callable[[bytes], Any]
"""Decodes a body into the value of `event`; raises BadBody."""


class BadBody(Exception):  # noqa: N818 -- the message's fault, not ours
    """A body that cannot be used. `reason` names the part at fault and never contains any of the payload."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def json_body(body: bytes) -> dict[str, Any]:
    """The JSON object in a body; raises BadBody."""
    return _object(_bounded_body(body), "body")


def envelope_body(body: bytes) -> dict[str, Any]:
    """The event's object in an envelope; raises BadBody."""
    data = _object(_bounded_body(body), "envelope").get("data")
    if isinstance(data, dict):
        return data
    if not isinstance(data, str):
        raise BadBody("data")
    if data.lstrip().startswith("{"):
        return _object(data, "data")
    bare = data.translate(_URL_SAFE)
    try:
        return _object(base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True), "data")
    except (binascii.Error, ValueError):  # ValueError means a character that is not ASCII
        raise BadBody("data") from None


def message_body(kind: type[Message]) -> Body:
    """A reader of protobuf messages of this type."""

    def read(body: bytes) -> Message:
        message = kind()
        try:
            message.ParseFromString(_bounded_body(body))
        except DecodeError:
            raise BadBody("body") from None
        return message

    return read


def any_value(read: Callable[[bytes], dict[str, Any]]) -> Body:
    """A reader that gives the object with all its members, converted to CEL's types."""
    return lambda body: _plain(read(body))


def declared_fields(
    read: Callable[[bytes], dict[str, Any]], kind: Callable[[], object], fields: Mapping[str, str]
) -> Body:
    """A reader that fills a `kind` from the object. `fields` maps names to `text` or `int64`, with `?` if optional."""

    def to_message(body: bytes) -> object:
        given, message = read(body), kind()
        for name, written in fields.items():
            value: str | int | None = text(given.get(name)) if written.startswith("text") else int64(given.get(name))
            if value is not None and value != "":
                setattr(message, name, value)
            elif not written.endswith("?"):
                raise BadBody(name)
        return message

    return to_message


def message_with(fields: Mapping[str, str], name: str) -> descriptor_pb2.FileDescriptorProto:
    """A proto file that declares the message `policy.<name>` with these fields, typed as in `declared_fields`."""
    file = descriptor_pb2.FileDescriptorProto(name=f"policy/{name}.proto", package="policy", syntax="proto3")
    message = file.message_type.add(name=name)
    types = descriptor_pb2.FieldDescriptorProto
    for number, (field, written) in enumerate(fields.items(), 1):
        kind = types.TYPE_STRING if written.startswith("text") else types.TYPE_INT64
        message.field.add(name=field, number=number, label=types.LABEL_OPTIONAL, type=kind)
    return file


def int64(value: object) -> int | None:
    """An int64 written as a number (`5`, `5.0`, `5e0`) or as a string of digits; None for anything else."""
    if isinstance(value, str):
        value = _bounded(value)
    elif isinstance(value, Decimal):
        value = _whole(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if value in INT64 else None


def text(value: object) -> str:
    """The value if it is a string that UTF-8 can encode, else an empty string.

    JSON escapes can spell lone surrogates, which no key can contain.
    """
    if not isinstance(value, str):
        return ""
    try:
        value.encode()
    except UnicodeEncodeError:
        return ""
    return value


def _bounded_body(body: bytes) -> bytes:
    if len(body) > MAX_BODY_BYTES:
        raise BadBody("oversize")
    return body


def _object(written: str | bytes, part: str) -> dict[str, Any]:
    """A JSON object. Numbers stay exact; those of absurd size become None, which no field accepts."""
    try:
        value = json.loads(written, parse_int=_bounded, parse_float=_exact)
    except (ValueError, RecursionError):
        raise BadBody(part) from None
    if not isinstance(value, dict):
        raise BadBody(part)
    return value


def _bounded(digits: str) -> int | None:
    return int(digits) if _INTEGER.fullmatch(digits) else None


def _exact(number: str) -> Decimal | None:
    try:
        return Decimal(number)
    except ArithmeticError:  # an exponent beyond what a Decimal holds
        return None


def _whole(number: Decimal) -> int | None:
    # The bounds are checked first: `int` of 1e999999999 would take all memory.
    return int(number) if INT64[0] <= number <= INT64[-1] and number == number.to_integral_value() else None


def _plain(value: Any) -> Any:
    """A JSON value as CEL takes it: whole numbers as int, others as double; a text that cannot be encoded is empty."""
    match value:
        case dict():
            return {text(name): _plain(each) for name, each in value.items()}
        case list():
            return [_plain(each) for each in value]
        case str():
            return None if "\0" in value else text(value)  # CEL's bindings would cut it at the NUL
        case Decimal():
            return float(value) if (whole := _whole(value)) is None else whole
        case int() if value not in INT64:
            return float(value)
        case _:
            return value
