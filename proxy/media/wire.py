"""Reads single fields out of a serialized message without copying the rest (protobuf encoding specification).

An upload is one message of up to 50 MiB, most of it one `bytes` field: parsing it would copy it. This walks the
top-level tags and looks only at the fields asked for.
"""

from collections.abc import Iterator

_VARINT, _I64, _LEN, _SGROUP, _EGROUP, _I32 = range(6)


class MalformedError(ValueError):
    """The bytes are no protobuf message."""


def fields(body: bytes, wanted: frozenset[int]) -> dict[int, int | bytes]:
    """The wanted top-level fields: varints as unsigned integers, length-delimited ones as bytes; the last one wins.

    Raises MalformedError. Groups, which proto3 does not have, are unknown fields and passed over whole.
    """
    return dict(_walk(body, wanted))


def signed(value: int) -> int:
    """An int64 from its varint's 64 bits (two's complement)."""
    return value - (1 << 64) if value >= 1 << 63 else value


def _walk(body: bytes, wanted: frozenset[int]) -> Iterator[tuple[int, int | bytes]]:
    at, end, depth = 0, len(body), 0
    while at < end:
        tag, at = _varint(body, at)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise MalformedError("field number 0")
        if kind in {_SGROUP, _EGROUP}:
            depth += 1 if kind == _SGROUP else -1
            if depth < 0:
                raise MalformedError("the end of a group that did not begin")
            continue
        value, at = _value(body, at, kind)
        if number in wanted and not depth and value is not None:
            yield number, value if isinstance(value, int) else body[value]
    if at != end or depth:
        raise MalformedError("cut off")


def _value(body: bytes, at: int, kind: int) -> tuple[int | slice | None, int]:
    """A field's value and the place after it: a number, where its bytes are, or None for the fixed-size kinds."""
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
    """A varint of at most 64 bits and the place after it."""
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
