"""The content of an AMQP body, as the value `event` in expressions. Pure; raises only `BadBody`.

json       a JSON object
envelope   a JSON object whose `data` holds the object: in base64 (standard or URL-safe, padded or not), as it is, or as
           a JSON string. A string that opens with `{` is JSON: no base64 alphabet has that character
a message  of a protobuf type

Numbers stay exact: one that is whole is an int, however it is written. Where a policy declares an event's fields,
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
"""Longer bodies are refused before anything is decoded; real ones have a few hundred bytes."""
INT64 = range(-(2**63), 2**63)

_URL_SAFE = str.maketrans("-_", "+/", " \t\r\n=")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")

Body = Callable[[bytes], Any]
"""Bytes to the value of `event`."""


class BadBody(Exception):  # noqa: N818 -- the message's fault, not ours
    """A body that cannot be used. `reason` says which part was at fault and never holds any of the payload."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def json_body(body: bytes) -> dict[str, Any]:
    """The object that the body is."""
    return _object(_bounded_body(body), "body")


def envelope_body(body: bytes) -> dict[str, Any]:
    """The object in the envelope that the body is."""
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
    except (binascii.Error, ValueError):  # ValueError: a character that is not ASCII
        raise BadBody("data") from None


def message_body(kind: type[Message]) -> Body:
    """A reader of messages of this type."""

    def read(body: bytes) -> Message:
        message = kind()
        try:
            message.ParseFromString(_bounded_body(body))
        except DecodeError:
            raise BadBody("body") from None
        return message

    return read


def any_value(read: Callable[[bytes], dict[str, Any]]) -> Body:
    """A reader of objects as expressions take them, with whatever they hold."""
    return lambda body: _plain(read(body))


def declared_fields(
    read: Callable[[bytes], dict[str, Any]], kind: Callable[[], object], fields: Mapping[str, str]
) -> Body:
    """A reader of objects as a `kind` with these fields: `text` or `int64`, with `?` where it may be missing."""

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
    """A file that declares the message `policy.<name>` with these fields."""
    file = descriptor_pb2.FileDescriptorProto(name=f"policy/{name}.proto", package="policy", syntax="proto3")
    message = file.message_type.add(name=name)
    types = descriptor_pb2.FieldDescriptorProto
    for number, (field, written) in enumerate(fields.items(), 1):
        kind = types.TYPE_STRING if written.startswith("text") else types.TYPE_INT64
        message.field.add(name=field, number=number, label=types.LABEL_OPTIONAL, type=kind)
    return file


def int64(value: object) -> int | None:
    """An int64 written as a number (`5`, `5.0`, `5e0`) or as a string of digits; None for all else."""
    if isinstance(value, str):
        value = _bounded(value)
    elif isinstance(value, Decimal):
        value = _whole(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if value in INT64 else None


def text(value: object) -> str:
    """A string that can be encoded; else empty. JSON's escapes can spell lone surrogates, which no key can hold."""
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
    """A JSON object. Numbers stay exact; those of absurd size become None, which is a wrong type."""
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
    # The bounds first: `int` of 1e999999999 would take all memory.
    return int(number) if INT64[0] <= number <= INT64[-1] and number == number.to_integral_value() else None


def _plain(value: Any) -> Any:
    """A JSON value as CEL takes it: whole numbers as int, others as double, no text that cannot be encoded."""
    match value:
        case dict():
            return {text(name): _plain(each) for name, each in value.items()}
        case list():
            return [_plain(each) for each in value]
        case str():
            return None if "\0" in value else text(value)  # what expressions take ends at a NUL
        case Decimal():
            return float(value) if (whole := _whole(value)) is None else whole
        case int() if value not in INT64:
            return float(value)
        case _:
            return value
