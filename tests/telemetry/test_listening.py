"""`[::]` is IPv4 and IPv6, and IPv4 alone where the kernel has no IPv6."""

import errno
import socket

import pytest

from proxy.telemetry.listening import listening_socket


def test_every_address_is_both_kinds() -> None:
    with listening_socket("::", 0) as made:
        port = made.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port), timeout=5).close()


def test_without_ipv6_it_is_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with the kernel's ipv6.disable=1."""
    made = socket.socket

    def without(family: int, kind: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return made(family, kind)

    monkeypatch.setattr(socket, "socket", without)
    found = listening_socket("::", 0)
    monkeypatch.undo()
    with found:
        assert found.family == socket.AF_INET


def test_one_address_is_one() -> None:
    with listening_socket("127.0.0.1", 0) as first, pytest.raises(OSError, match="Address already in use"):
        listening_socket("127.0.0.1", first.getsockname()[1])


def test_names_are_looked_up() -> None:
    with listening_socket("localhost", 0) as made:
        assert made.getsockname()[0] in {"127.0.0.1", "::1"}
