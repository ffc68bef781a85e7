"""`NameServer`: a DNS server whose answers a test can change while it runs."""

import asyncio
import socket
import struct
from types import TracebackType
from typing import Self

_A, _AAAA, _IN, _TTL = 1, 28, 1, 1
_ANSWER, _NO_SUCH_NAME = 0x8580, 3
_HEADER = 12
_NAME_OF_THE_QUESTION = b"\xc0\x0c"


class NameServer(asyncio.DatagramProtocol):
    """Listens on UDP. `addresses` are by name, in lower case; a name without any does not exist."""

    def __init__(self) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answers one question (RFC 1035, 4.1)."""
        labels, at = [], _HEADER
        while length := data[at]:
            labels.append(data[at + 1 : at + 1 + length].decode())
            at += 1 + length
        question = data[_HEADER : at + 5]
        kind = int.from_bytes(data[at + 1 : at + 3])
        known = self.addresses.get(".".join(labels).lower())
        answers = [_record(kind, each) for each in known or () if kind == (_AAAA if ":" in each else _A)]
        flags = _ANSWER | (_NO_SUCH_NAME if known is None else 0)
        head = data[:2] + struct.pack(">HHHHH", flags, 1, len(answers), 0, 0)
        if self._transport is not None:
            self._transport.sendto(head + question + b"".join(answers), addr)


def _record(kind: int, address: str) -> bytes:
    packed = socket.inet_pton(socket.AF_INET6 if kind == _AAAA else socket.AF_INET, address)
    return _NAME_OF_THE_QUESTION + struct.pack(">HHIH", kind, _IN, _TTL, len(packed)) + packed
