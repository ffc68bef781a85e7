"""`Entry`: a stored answer and its format in Redis. Bytes that cannot be decoded are a miss.

Format, version 1: one ASCII line, then the request's identity, then the response message as upstream sent it.

    1 <run id> <born> <fresh until> <stale until> <identity's length> <CRC-32>\\n<identity><body>

Times are milliseconds since 1970, on Redis' clock. *Born* is when the fetch began (when the lease was granted), so that
an answer's age counts from before its origin read it. The fill script writes the line, since it knows the clock. The
checksum covers everything after the line, so that truncated or modified bytes are a miss.

A *negative* entry holds a status other than OK. The length of its identity is written as a negative number, and the
status, the length of its details, the details and `grpc-status-details-bin` take the place of the message. Versions
that do not know negative entries treat them as a miss.
"""

from dataclasses import dataclass
from zlib import crc32

from grpc import StatusCode

from proxy.calls.call import Reply

VERSION = b"1"
_LONGEST_HEADER = 160
_DETAILS = "grpc-status-details-bin"
_CODES = {code.value[0]: code for code in StatusCode}


@dataclass(slots=True)
class Entry:
    """A stored answer that belongs to the request for which it was read."""

    body: bytes
    born_ms: int
    fresh_until_ms: int
    stale_until_ms: int
    negative: Reply | None = None
    """The stored status, if it was stored instead of a message."""

    @property
    def reply(self) -> Reply:
        """What the caller gets."""
        return Reply(self.body) if self.negative is None else self.negative

    def age(self, now_ms: float) -> int:
        """Whole seconds since the fetch began, never negative (RFC 9111, 4.2.3)."""
        return max(0, int(now_ms - self.born_ms)) // 1000


def tail(identity: bytes, body: bytes, negative: bytes = b"") -> bytes:
    """The part of an entry that the filling process knows; the fill script prepends version, run id and times.
    `negative` are the bytes of a status, instead of `body`.
    """
    stored, sign = (negative, -1) if negative else (body, 1)
    return b"%d %d\n%b%b" % (sign * len(identity), crc32(stored, crc32(identity)), identity, stored)


def negative(reply: Reply) -> bytes:
    """The stored form of a status other than OK."""
    details = reply.details.encode(errors="surrogateescape")
    more = next((value for name, value in reply.trailing_metadata if name == _DETAILS and type(value) is bytes), b"")
    return b"%d %d\n%b%b" % (reply.code.value[0], len(details), details, more)


def decode(value: object, *, run_id: bytes, identity: bytes) -> Entry | None:
    """The entry. None for foreign bytes, another version, the data of another Redis process, or the answer to another
    request.
    """
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
    if abs(length) != len(identity) or not value.startswith(identity, start):
        return None
    if crc32(memoryview(value)[start:]) != checksum:
        return None
    body = value[start + len(identity) :]
    return Entry(body, born, fresh, stale) if length >= 0 else _negative(body, born, fresh, stale)


def identity_of(value: bytes) -> bytes:
    """The identity in an entry's bytes, for readers that do not know the request; empty if there is none."""
    header, _, rest = value.partition(b"\n")
    words = header.split(b" ")
    length = words[5].removeprefix(b"-") if len(words) > 5 else b""
    return rest[: int(length)] if length.isdigit() and len(length) < 8 else b""


def _negative(stored: bytes, born: int, fresh: int, stale: int) -> Entry | None:
    head, _, rest = stored.partition(b"\n")
    try:
        code, length = map(int, head.split(b" "))
        details, more = rest[:length].decode(errors="surrogateescape"), rest[length:]
        trailing = ((_DETAILS, more),) if more else ()
        return Entry(b"", born, fresh, stale, Reply(None, _CODES[code], details, (), trailing))
    except (ValueError, KeyError):
        return None
