"""gRPC over TLS, at the listener and upstream: which peers are accepted and refused, and certificates that change."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc import StatusCode

from proxy.calls.call import Call, Reply
from proxy.tls import Leg
from proxy.transport.admission import Admission
from proxy.transport.credentials import open_channel, server_credentials, why_not_connected
from proxy.transport.server import Listener
from proxy.transport.upstream import Upstream
from tests.support.raw_upstream import RawUpstream, Recorder
from tests.support.servers.certificates import Authority, swap
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.waiting import until
from tests.support.tls_legs import leg

METHOD = "/s/echo"


@asynccontextmanager
async def media(shown: Leg) -> AsyncIterator[str]:
    """A media service behind TLS; yields its address."""
    server = grpc.aio.server(handlers=[RawUpstream()])
    port = server.add_secure_port("127.0.0.1:0", server_credentials(shown))
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def asked(target: str, tls: Leg | None) -> Reply:
    """Makes one call through a new `Upstream`."""
    upstream = Upstream(target, Recorder(), tls)
    try:
        return await upstream.unary(Call(METHOD, b"ask"), timeout=30)
    finally:
        await upstream.close()


async def _refused(target: str, tls: Leg | None, why: str) -> None:
    reply = await asked(target, tls)
    assert reply.code is StatusCode.UNAVAILABLE
    assert why in reply.details


class TestUpstream:
    async def test_a_service_that_shows_the_right_certificate(self, authority: Authority) -> None:
        async with media(leg(own=authority.issue("localhost", "127.0.0.1"), server=True)) as address:
            assert (await asked(address, leg(authority.ca))).body == b"ask"
            assert (await asked(address.replace("127.0.0.1", "localhost"), leg(authority.ca))).body == b"ask"

    async def test_both_show_one(self, authority: Authority, stranger: Authority) -> None:
        async with media(leg(authority.ca, authority.issue("127.0.0.1"), server=True)) as address:
            assert (await asked(address, leg(authority.ca, authority.issue()))).body == b"ask"
            for own in (None, stranger.issue(), authority.issue(expired=True)):
                assert (await asked(address, leg(authority.ca, own))).code is StatusCode.UNAVAILABLE

    async def test_a_certificate_of_another_ca_and_a_name_that_is_not_its_own(
        self, authority: Authority, stranger: Authority
    ) -> None:
        async with media(leg(own=authority.issue("media.test"), server=True)) as address:
            assert (await asked(address, leg(authority.ca, server_name="media.test"))).body == b"ask"
            await _refused(address, leg(authority.ca), "Hostname Verification Check failed")
            await _refused(address, leg(authority.ca, server_name="other.test"), "Hostname Verification Check failed")
            await _refused(address, leg(stranger.ca, server_name="media.test"), "CERTIFICATE_VERIFY_FAILED")
            await _refused(address, leg(server_name="media.test"), "CERTIFICATE_VERIFY_FAILED")
            assert (await asked(address, None)).code is StatusCode.UNAVAILABLE

    async def test_a_certificate_that_has_expired(self, authority: Authority) -> None:
        async with media(leg(own=authority.issue("127.0.0.1", expired=True), server=True)) as address:
            await _refused(address, leg(authority.ca), "certificate has expired")

    async def test_why_it_is_lost_is_told(self, authority: Authority, stranger: Authority) -> None:
        async with media(leg(own=authority.issue("127.0.0.1"), server=True)) as address:
            told: list[tuple[bool, str]] = []
            upstream = Upstream(address, Recorder(), leg(stranger.ca))
            watch = asyncio.create_task(upstream.watch(lambda up, why: told.append((up, why))))
            await until(lambda: told)
            await _end(watch)
            await upstream.close()
            ((up, why),) = told
            assert not up
            assert why.startswith(f"ipv4:{address}: ")
            assert "CERTIFICATE_VERIFY_FAILED" in why

    async def test_renewed_certificates_are_for_calls_to_come(self, authority: Authority, stranger: Authority) -> None:
        """The service changes to another CA. A stream that is open meanwhile continues until it ends."""
        shown, own = authority.issue("127.0.0.1"), authority.issue()
        service, ours = leg(authority.ca, shown, server=True), leg(authority.ca, own)
        async with media(service) as address:
            upstream = Upstream(address, Recorder(), ours)
            told: list[bool] = []
            watch = asyncio.create_task(upstream.watch(lambda up, why: told.append(up)))
            assert (await upstream.unary(Call(METHOD, b"1"), timeout=30)).body == b"1"
            stream = upstream.stream("/s/stream", (), timeout=None)
            await stream.write(b"before")
            assert await stream.read() == b"before"
            stranger.issue("127.0.0.1").write_to(shown)
            stranger.issue().write_to(own)
            swap(stranger.ca, authority.ca)
            assert service.look()
            assert ours.look()
            ours.tell()
            assert (await upstream.unary(Call(METHOD, b"2"), timeout=30)).body == b"2"
            await stream.write(b"after")
            assert await stream.read() == b"after"
            assert told == [True]
            assert _connections(address) == 2
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF
            del stream
            await until(lambda: _connections(address) == 1, "the old connection to be closed after its last call")
            await _end(watch)
            await upstream.close()

    async def test_no_call_fails_for_certificates_that_change(self, authority: Authority) -> None:
        """Neither calls that wait for a connection at that moment, nor calls that wait for an answer."""
        own = authority.issue()
        ours = leg(authority.ca, own)
        async with media(leg(authority.ca, authority.issue("127.0.0.1"), server=True)) as address:
            async with FaultyTcp(int(address.rpartition(":")[2])) as tcp:
                upstream = Upstream(tcp.addr, Recorder(), ours)
                calls = []
                for number in range(5):
                    calls.append(asyncio.create_task(upstream.unary(Call(METHOD, b"%d" % number), timeout=30)))
                    await asyncio.sleep(0)
                    authority.issue().write_to(own)
                    assert ours.look()
                    ours.tell()
                assert [reply.body for reply in await asyncio.gather(*calls)] == [b"0", b"1", b"2", b"3", b"4"]
                await upstream.close()


async def test_a_channel_that_works_tells_no_reason(authority: Authority) -> None:
    async with media(leg(own=authority.issue("127.0.0.1"), server=True)) as address:
        async with open_channel(address, leg(authority.ca)) as channel:
            await channel.channel_ready()
            assert await why_not_connected(channel) == ""


@asynccontextmanager
async def listening(shown: Leg) -> AsyncIterator[tuple[str, Listener]]:
    """The proxy's listener in front of a media service in plaintext; yields its address."""
    async with RawUpstream() as raw:
        upstream = Upstream(raw.address, Recorder())
        listener = Listener("127.0.0.1:0", {}, upstream, Recorder(), Admission(10), tls=shown)
        try:
            yield f"127.0.0.1:{await listener.start()}", listener
        finally:
            await listener.stop()
            await upstream.close()


async def called(address: str, ca: Authority, tls: Leg | None = None) -> bytes | str:
    """Makes one call on a new connection; returns the answer, or why there is none."""
    async with open_channel(address, tls or leg(ca.ca)) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        try:
            return await call(b"ask", timeout=30)
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"


class TestListener:
    async def test_callers_are_shown_our_certificate(self, authority: Authority, stranger: Authority) -> None:
        async with listening(leg(own=authority.issue("127.0.0.1"), server=True)) as (address, _):
            assert await called(address, authority) == b"ask"
            assert "CERTIFICATE_VERIFY_FAILED" in str(await called(address, stranger))
            assert (await asked(address, None)).code is StatusCode.UNAVAILABLE

    async def test_callers_must_show_theirs_where_a_ca_is_given(
        self, authority: Authority, stranger: Authority
    ) -> None:
        async with listening(leg(authority.ca, authority.issue("127.0.0.1"), server=True)) as (address, _):
            assert await called(address, authority, leg(authority.ca, authority.issue())) == b"ask"
            for own in (None, stranger.issue(), authority.issue(expired=True)):
                assert str(await called(address, authority, leg(authority.ca, own))).startswith("UNAVAILABLE: ")

    async def test_no_older_protocol_than_tls_1_2(self, authority: Authority) -> None:
        async with listening(leg(own=authority.issue("127.0.0.1"), server=True)) as (address, _):
            host, _, port = address.partition(":")
            old = ssl.create_default_context(cafile=str(authority.ca))
            old.set_ciphers("ALL:@SECLEVEL=0")
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            _, writer = await asyncio.open_connection(host, int(port), ssl=old)
            writer.close()
            with pytest.warns(DeprecationWarning, match="TLSv1"):
                old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
            with pytest.raises(ConnectionResetError):
                await asyncio.open_connection(host, int(port), ssl=old)

    async def test_renewed_certificates_are_shown_to_the_next_caller(
        self, authority: Authority, stranger: Authority, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING)
        shown = authority.issue("127.0.0.1")
        tls = leg(authority.ca, shown, server=True)
        theirs, new = leg(authority.ca, authority.issue()), leg(stranger.ca, stranger.issue())
        async with listening(tls) as (address, listener):
            async with open_channel(address, theirs) as before:
                call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = before.unary_unary(METHOD)
                assert await call(b"1", timeout=30) == b"1"
                stranger.issue("127.0.0.1").write_to(shown)
                swap(stranger.ca, authority.ca)
                assert tls.look()
                assert await called(address, stranger, new) == b"ask"
                assert str(await called(address, authority, theirs)).startswith("UNAVAILABLE: ")
                assert await call(b"2", timeout=30) == b"2", "a connection outlives the certificate it began with"
            await listener.stop()
            await listener.start()
            assert await called(address, stranger, new) == b"ask", "the port that is opened again has the new one"
        assert not caplog.records


def _connections(address: str) -> int:
    """How many connections this process has to a server of its own, counted at the server's end."""
    port = f":{int(address.rpartition(':')[2]):04X}"
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/self/net", name).read_text().splitlines()]
    return sum(local.endswith(port) and state == "01" for _, local, _, state, *_ in lines)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
