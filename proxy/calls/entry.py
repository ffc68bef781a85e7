"""`Entry`: one stored answer, and its bytes in Redis. What cannot be decoded is a miss.

Stored format, version 1: one ASCII line, then the request's identity, then the response message as upstream sent it.

    1 <run id> <born> <fresh until> <stale until> <identity's length> <CRC-32>\\n<identity><body>

Times are milliseconds of Redis' own clock since 1970. *Born* is when the fetch began (the lease was taken), so an
answer's age counts from before it was read at its origin. The fill script writes the line, since it knows the clock.
The checksum is of all after the line: bytes that were cut or changed by someone else are a miss, not an answer.
"""

from dataclasses import dataclass
from zlib import crc32

VERSION = b"1"
_LONGEST_HEADER = 160


@dataclass(slots=True)
class Entry:
    """A stored answer that belongs to the request it was read for."""

    body: bytes
    born_ms: int
    fresh_until_ms: int
    stale_until_ms: int

    def age(self, now_ms: float) -> int:
        """Whole seconds since the fetch began, never negative (RFC 9111, 4.2.3)."""
        return max(0, int(now_ms - self.born_ms)) // 1000


def tail(identity: bytes, body: bytes) -> bytes:
    """The part of an entry that the filling process knows; the fill script puts version, run id and times before it."""
    return b"%d %d\n%b%b" % (len(identity), crc32(body, crc32(identity)), identity, body)


def decode(value: object, *, run_id: bytes, identity: bytes) -> Entry | None:
    """The entry; None for foreign bytes, another version, another Redis process' data, another request's answer."""
    if type(value) is not bytes:
        return None
    end = value.find(b"\n", 0, _LONGEST_HEADER)
    header = value[:end].split(b" ") if end > 0 else ()
    if len(header) != 7 or header[0] != VERSION or header[1] != run_id:
        return None
    try:
        born, fresh, stale, length, checksum = map(int, header[2:])
    except ValueError:
        return None
    start = end + 1
    body_at = start + length
    if length != len(identity) or value[start:body_at] != identity:
        return None
    body = value[body_at:]
    return Entry(body, born, fresh, stale) if crc32(body, crc32(identity)) == checksum else None
