"""The log and `ping` report a broker's refusal in the broker's words, without credentials."""

import logging
from collections.abc import Awaitable, Callable

import pytest

from proxy.admin.pinging import ping
from tests.support.amqp import publishing
from tests.support.amqp_consumer import DELETED, UPLOADED, lines, once, running
from tests.support.media_events import EXCHANGE
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.waiting import until


async def _no_such_vhost(rabbit: RabbitServer) -> str:
    return rabbit.url("nowhere")


async def _no_right_to_vhost(rabbit: RabbitServer) -> str:
    url = await rabbit.vhost()
    await rabbit.eval(f'rabbit_auth_backend_internal:clear_permissions(<<"guest">>, <<"{_vhost(url)}">>, <<"tests">>).')
    return url


async def _full_vhost(rabbit: RabbitServer) -> str:
    url = await rabbit.vhost()
    await rabbit.ctl("set_vhost_limits", "-p", _vhost(url), '{"max-connections": 0}')
    return url


async def _wrong_password(rabbit: RabbitServer) -> str:
    return (await rabbit.vhost()).replace("guest:guest@", "guest:s3cret@")


def _vhost(url: str) -> str:
    return url.rpartition("/")[2]


@pytest.mark.parametrize(
    ("refusing", "words"),
    [
        (_no_such_vhost, "vhost nowhere not found"),
        (_no_right_to_vhost, "refused for user '"),
        (_full_vhost, "connection limit (0) is reached"),
        (_wrong_password, "ACCESS_REFUSED - Login was refused"),
    ],
)
async def test_a_refusal_is_told_in_the_brokers_words(
    rabbit: RabbitServer,
    caplog: pytest.LogCaptureFixture,
    refusing: Callable[[RabbitServer], Awaitable[str]],
    words: str,
) -> None:
    url = await refusing(rabbit)
    async with running(url) as one:
        await until(lambda: lines(caplog, logging.WARNING), "the line that says so")
        assert words in one.consumer.state.reason
    (said,) = lines(caplog, logging.WARNING)
    told = next(each for each in await ping(None, (url,), "127.0.0.1:1", "", 5.0) if each.name == "rabbitmq")
    for text in (said, told.error):
        assert words in text
        assert "object at" not in text
        assert "s3cret" not in text


async def _user(rabbit: RabbitServer, url: str, configure: str, write: str, read: str) -> str:
    """The URL of a new user with only these permissions."""
    name = f"user-{_vhost(url)}"
    await rabbit.eval(f'rabbit_auth_backend_internal:add_user(<<"{name}">>, <<"secret">>, <<"tests">>).')
    await rabbit.eval(
        f'rabbit_auth_backend_internal:set_permissions(<<"{name}">>, <<"{_vhost(url)}">>, <<"{configure}">>, '
        f'<<"{write}">>, <<"{read}">>, <<"tests">>).'
    )
    return url.replace("guest:guest@", f"{name}:secret@")


@pytest.mark.parametrize(
    ("configure", "write", "read"),
    [
        ("^ours-.*", "^ours-.*", f"^(ours-.*|{EXCHANGE})$"),  # everything except the exchange
        ("^$", "^ours-.*", f"^(ours-.*|{EXCHANGE})$"),  # may bind
        ("^$", "^$", "^ours-.*"),  # may consume
    ],
)
async def test_a_user_who_may_not_declare_consumes_where_all_exists(
    rabbit: RabbitServer, caplog: pytest.LogCaptureFixture, configure: str, write: str, read: str
) -> None:
    url = await rabbit.vhost()
    async with publishing(url) as publisher:
        await once(url)
        restricted = await _user(rabbit, url, configure, write, read)
        caplog.clear()
        async with running(restricted, check_interval=0.2) as one:
            await one.up()
            await publisher.event(1)
            await one.cache.applied(1)
            await one.checked(3)
            assert one.seen.ups == [False, True]
    assert lines(caplog, logging.WARNING) == []


async def test_a_user_who_may_not_declare_what_is_missing_is_told_so(
    rabbit: RabbitServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The exchange, which the first binding to it reveals, or a queue. Both are declared by others later."""
    url = await rabbit.vhost()
    restricted = await _user(rabbit, url, "^ours-.*", "^ours-.*", f"^(ours-.*|{EXCHANGE})$")
    async with running(restricted) as one:
        await until(lambda: lines(caplog, logging.WARNING), "the line that says so")
        assert f"no exchange '{EXCHANGE}'" in lines(caplog, logging.WARNING)[0]
        async with publishing(url) as publisher:  # the media service declares it
            await one.up()
            await publisher.event(1)
            await one.cache.applied(1)


async def test_a_queue_that_may_not_be_declared_is_named(
    rabbit: RabbitServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = await rabbit.vhost()
    restricted = await _user(rabbit, url, "^$", "^ours-.*", f"^(ours-.*|{EXCHANGE})$")
    async with publishing(url) as publisher, running(restricted) as one:
        await until(lambda: lines(caplog, logging.WARNING), "the line that says so")
        assert UPLOADED in lines(caplog, logging.WARNING)[0]
        for name in (UPLOADED, DELETED):
            await publisher.channel.declare_queue(name, durable=True)
        await one.up()
        await publisher.event(1)
        await one.cache.applied(1)
