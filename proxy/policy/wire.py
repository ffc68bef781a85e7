"""Reads single fields of a serialized message without copying the rest (protobuf encoding specification).

An upload is one message of up to 50 MiB, most of it one `bytes` field, which parsing would copy. This module walks the
top-level tags and looks only at the fields asked for. It must read a message as upstream's protobuf library does: a
field of another wire type than declared is an unknown field, not a malformed message.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass

_VARINT, _I64, _LEN, _SGROUP, _EGROUP, _I32 = range(6)


@dataclass(frozen=True, slots=True)
class Fields:
    """The top-level fields that were asked for and found; of several with one number, the last one."""

    _numbers: dict[int, int]
    _texts: dict[int, bytes]

    def number(self, field: int) -> int:
        """An int64, the two's complement of a varint's 64 bits; 0 if the field was not found."""
        value = self._numbers.get(field, 0)
        return value - (1 << 64) if value >= 1 << 63 else value

    def text(self, field: int) -> str:
        """A text; empty if the field was not found. Raises UnicodeDecodeError if it is not UTF-8, as upstream does."""
        return self._texts.get(field, b"").decode()


def fields(body: bytes, *, numbers: Set[int] = frozenset(), texts: Set[int] = frozenset()) -> Fields:
    """The varints (`numbers`) and length-delimited fields (`texts`) with these field numbers; raises MalformedError.

    Groups, which proto3 does not have, are unknown fields and skipped whole.
    """
    integers: dict[int, int] = {}
    strings: dict[int, bytes] = {}
    for field, value, _ in _walk(body):
        if isinstance(value, int):
            if field in numbers:
                integers[field] = value
        elif isinstance(value, slice) and field in texts:
            strings[field] = body[value]
    return Fields(integers, strings)


def only(body: bytes, numbers: Set[int]) -> bytes:
    """The message with only these top-level fields, byte for byte; raises MalformedError."""
    return b"".join(body[whole] for field, _, whole in _walk(body) if field in numbers)


_NUMBERS = range(1, 1 << 29)
"""The valid field numbers. A larger one is malformed: libraries that cut tags to 32 bits would see another field."""


class MalformedError(ValueError):
    """The bytes are not a protobuf message."""


def _walk(body: bytes) -> Iterator[tuple[int, int | slice | None, slice]]:
    """Each top-level field: its number, its value as in `_value`, and the slice that is the whole field."""
    at, end, depth = 0, len(body), 0
    while at < end:
        begin = at
        tag, at = _varint(body, at)
        number, kind = tag >> 3, tag & 7
        if number not in _NUMBERS and (number or not depth):  # protobuf accepts a 0 within an unknown group
            raise MalformedError(f"field number {number}")
        if kind in {_SGROUP, _EGROUP}:
            depth += 1 if kind == _SGROUP else -1
            if depth < 0:
                raise MalformedError("the end of a group that did not begin")
            continue
        value, at = _value(body, at, kind)
        if not depth:
            yield number, value, slice(begin, at)
    if at != end or depth:
        raise MalformedError("cut off")


def _value(body: bytes, at: int, kind: int) -> tuple[int | slice | None, int]:
    """A field's value and the index after it. The value is a number, the slice of its bytes, or None if fixed-size."""
    if kind == _VARINT:
        return _varint(body, at)
    if kind == _LEN:
        length, at = _varint(body, at)
        if at + length > len(body):
            raise MalformedError("a field longer than the message")
        return slice(at, at + length), at + length
    if kind in {_I64, _I32}:
        return None, at + (8 if kind == _I64 else 4)
    raise MalformedError(f"wire type {kind}")


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """A varint, cut to 64 bits, and the index after it."""
    value = 0
    for shift in range(0, 70, 7):
        try:
            byte = body[at]
        except IndexError:
            raise MalformedError("cut off in a number") from None
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise MalformedError("a number of more than 64 bits")
