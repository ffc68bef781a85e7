"""Parses multipart bodies into parts: RFC 7578, and curl's variant with another content type."""

from dataclasses import dataclass, field
from email.message import Message
from email.parser import HeaderParser

_LONGEST_BOUNDARY = 70


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart body."""

    name: str
    filename: str | None
    """As the sender wrote it; None for a plain field."""
    content_type: str
    """In lower case, without parameters; empty if the sender named none."""
    content: bytes = field(repr=False)


def boundary_of(content_type: str, body: bytes) -> bytes | None:
    """Returns the boundary if this is a multipart body, whatever its content type; None if it is not.

    `curl -F` with the user's own `Content-Type` keeps that type and appends `; boundary=…` to it. If a client does not
    even do that, the first line of the body contains the boundary. No JSON begins with two dashes.
    """
    if not body.startswith(b"--"):
        return None
    header = Message()
    header["Content-Type"] = content_type
    named = header.get_boundary()
    boundary = named.encode() if named else body.partition(b"\r\n")[0][2:]
    return boundary if 0 < len(boundary) <= _LONGEST_BOUNDARY else None


def parts_of(body: bytes, boundary: bytes) -> list[Part]:
    """Returns the parts in order; ValueError if the body is truncated or a part has no name."""
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise ValueError("the multipart body has no end")
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> Part:
    head, found, content = piece.partition(b"\r\n\r\n")
    if not found:
        raise ValueError("a part of the multipart body has no headers")
    # Decoded first, because senders write file names in plain UTF-8, which the bytes parser does not accept.
    headers = HeaderParser().parsestr(head.decode("utf-8", "replace").lstrip())
    name = headers.get_param("name", header="Content-Disposition")
    if not isinstance(name, str):
        raise ValueError("a part of the multipart body has no name")  # noqa: TRY004 -- the body is wrong, not the code
    content_type = headers.get_content_type() if "Content-Type" in headers else ""
    return Part(name, headers.get_filename(), content_type, content)
