"""amqps:// with a real broker: accepted, refused, renewed certificates; calls are not affected."""

import pytest

from proxy.tls import Leg
from tests.support.amqp_consumer import Running, running
from tests.support.servers.certificates import Authority, swap
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.waiting import until
from tests.support.tls_legs import leg


async def _url(rabbit: RabbitServer, port: int, host: str = "127.0.0.1") -> str:
    """The URL of a virtual host of the test's own."""
    return f"amqps://guest:guest@{host}:{port}/{(await rabbit.vhost()).rpartition('/')[2]}"


async def _works(url: str, tls: Leg | None) -> None:
    async with running(url, tls=tls) as one:
        await one.settled()


async def _refused(url: str, tls: Leg | None, why: str) -> None:
    """Asserts that the refusal is logged with its reason, and that the connection is retried."""
    async with running(url, tls=tls) as one:
        await until(lambda: why.casefold() in one.consumer.state.reason.casefold(), f"{why!r} as the reason")
        assert not one.seen.up
        await until(lambda: one.pauses >= 2, "another attempt")


async def test_a_broker_that_shows_the_right_certificate(rabbit: RabbitServer, authority: Authority) -> None:
    port = await rabbit.secure(authority, authority.issue("localhost", "127.0.0.1"))
    await _works(await _url(rabbit, port), leg(authority.ca))
    await _works(await _url(rabbit, port, "localhost"), leg(authority.ca))


async def test_tls_options_in_the_address_hold_where_no_setting_is_given(
    rabbit: RabbitServer, authority: Authority
) -> None:
    url = await _url(rabbit, await rabbit.secure(authority, authority.issue("127.0.0.1")))
    await _works(f"{url}?cafile={authority.ca}", None)
    await _refused(url, None, "certificate verify failed")


async def test_both_show_one(rabbit: RabbitServer, authority: Authority, stranger: Authority) -> None:
    url = await _url(rabbit, await rabbit.secure(authority, authority.issue("127.0.0.1"), clients=True))
    await _works(url, leg(authority.ca, authority.issue()))
    await _refused(url, leg(authority.ca), "certificate_required")
    await _refused(url, leg(authority.ca, stranger.issue()), "unknown_ca")
    await _refused(url, leg(authority.ca, authority.issue(expired=True)), "certificate_expired")


async def test_a_certificate_of_another_ca_and_a_name_that_is_not_its_own(
    rabbit: RabbitServer, authority: Authority, stranger: Authority
) -> None:
    url = await _url(rabbit, await rabbit.secure(authority, authority.issue("rabbit.test")))
    await _works(url, leg(authority.ca, server_name="rabbit.test"))
    await _refused(url, leg(authority.ca), "IP address mismatch")
    await _refused(url, leg(authority.ca, server_name="other.test"), "Hostname mismatch")
    await _refused(url, leg(stranger.ca, server_name="rabbit.test"), "certificate verify failed")


async def test_a_certificate_that_has_expired(rabbit: RabbitServer, authority: Authority) -> None:
    url = await _url(rabbit, await rabbit.secure(authority, authority.issue("127.0.0.1", expired=True)))
    await _refused(url, leg(authority.ca), "certificate has expired")


async def test_certificates_that_change_are_for_the_next_connection(
    rabbit: RabbitServer, authority: Authority, stranger: Authority
) -> None:
    shown, own = authority.issue("127.0.0.1"), authority.issue()
    tls = leg(authority.ca, own)
    url = await _url(rabbit, await rabbit.secure(authority, shown, clients=True))
    async with running(url, tls=tls) as one:
        await one.settled()
        stranger.issue("127.0.0.1").write_to(shown)
        stranger.issue().write_to(own)
        swap(stranger.ca, authority.ca)
        await rabbit.forget_certificates()
        await _closed(one)
        await until(lambda: "certificate verify failed" in one.consumer.state.reason)
        assert tls.look()
        await one.settled()


async def _closed(one: Running) -> None:
    session = one.consumer._session
    assert session is not None
    await session.connection.close()
    await one.down()


@pytest.mark.parametrize("scheme", ["amqp", "amqps"])
async def test_of_several_nodes_one_may_be_in_plaintext(
    rabbit: RabbitServer, authority: Authority, scheme: str
) -> None:
    port = await rabbit.secure(authority, authority.issue("127.0.0.1"))
    plain = await rabbit.vhost()
    urls = {"amqp": plain, "amqps": f"amqps://guest:guest@127.0.0.1:{port}/{plain.rpartition('/')[2]}"}
    async with running("", urls=(f"{scheme}://guest:guest@127.0.0.1:1/", urls[scheme]), tls=leg(authority.ca)) as one:
        await one.settled()
