"""The event consumer while RabbitMQ is away, is frozen or refuses it: nothing is lost, and one line is logged."""

import asyncio
import itertools
import logging
from functools import partial

import pytest

from tests.support.amqp import Publisher, publishing
from tests.support.amqp_consumer import empty, lines, once, running
from tests.support.servers.children import free_port
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.waiting import until


@pytest.fixture(autouse=True)
def info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "proxy")


async def test_a_restart_of_the_broker_loses_nothing_and_flushes(own_rabbit: RabbitServer) -> None:
    url = await own_rabbit.vhost()
    await once(url, "waiting")
    async with running(url) as one, running(url, "silent", pauses=lambda: itertools.repeat(10.0)) as silent:
        await one.settled()
        await silent.settled()
        async with publishing(url) as publisher:
            silent.cache.all_open.clear()
            await publisher.event(1, 2)
            await until(lambda: silent.cache.begun == 2, "events in hand")
        own_rabbit.kill()
        await one.down()
        await own_rabbit.start()
        await one.up()
        async with publishing(url) as publisher:
            await publisher.event(3)
            await one.cache.applied(1, 2, 3)
        await one.cache.flushed(2)
        assert one.cache.flushes[1] == "RabbitMQ could not be reached"
        # These two did not see the outage: one slept, the other did not run. The messages waited, and the mark is gone.
        silent.cache.all_open.set()
        await silent.cache.flushed(2)
        await silent.cache.applied(1, 2, 3)
        async with running(url, "waiting") as late:
            await late.cache.applied(1, 2, 3)
            await late.cache.flushed(1)


async def test_a_frozen_broker_is_noticed_and_stop_does_not_wait_for_it(own_rabbit: RabbitServer) -> None:
    url = await own_rabbit.vhost()
    async with running(f"{url}?heartbeat=1") as one, running(url, "other") as other:
        await one.settled()
        await other.settled()
        own_rabbit.freeze()
        async with asyncio.timeout(10):
            await other.consumer.stop()
        await one.down()
        own_rabbit.thaw()
        await one.up()
        async with publishing(url) as publisher:
            await publisher.event(1)
            await one.cache.applied(1)


async def test_a_connection_closed_by_the_broker_is_made_again_without_a_flush(
    rabbit: RabbitServer, url: str, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(url) as one:
        await one.settled()
        one.cache.all_open.clear()
        await publisher.event(1, 2)
        await until(lambda: one.cache.begun == 2, "events in hand")
        await rabbit.ctl("close_all_connections", "--vhost", url.rpartition("/")[2], "a test")
        await until(lambda: "RabbitMQ lost" in caplog.text, "the loss to be told")  # it reconnects at once
        await one.up()
        one.cache.all_open.set()
        async with publishing(url) as again:
            await again.event(3)
            await one.cache.applied(1, 2, 3)
        await until(lambda: empty(rabbit, url), "empty queues")
        assert one.cache.flushes == ["queue ours-uploaded did not exist"]


async def test_a_reconnect_attempt_that_failed_means_a_flush_and_one_line_each_way(
    rabbit: RabbitServer, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with FaultyTcp(rabbit.port) as tcp:
        through = url.replace(f":{rabbit.port}/", f":{tcp.port}/")
        await once(url)
        caplog.clear()
        async with running(through) as one:
            await one.settled()
            assert one.cache.flushes == []
            await tcp.refuse()
            await one.down()
            await until(lambda: one.pauses >= 4, "some attempts, of which only the first may say so")
            await tcp.start()
            await one.cache.flushed(1)
            assert one.cache.flushes == ["RabbitMQ could not be reached"]
            assert one.seen.ups == [False, True, False, True]
    assert len(lines(caplog, logging.WARNING)) == 1
    assert lines(caplog, logging.WARNING)[0].startswith("RabbitMQ lost: ")
    assert [line for line in lines(caplog, logging.INFO) if line.startswith("RabbitMQ is back after ")]


async def test_absent_at_start_it_is_found_later(
    rabbit: RabbitServer, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with FaultyTcp(rabbit.port) as tcp, publishing(url) as publisher:
        await once(url)
        await publisher.event(1)
        await tcp.refuse()
        caplog.clear()
        async with running(url.replace(f":{rabbit.port}/", f":{tcp.port}/")) as one:
            await until(lambda: lines(caplog, logging.WARNING), "the line that says it is away")
            assert one.seen.ups == [False, False]
            await tcp.start()
            await one.cache.applied(1)
            await one.cache.flushed(1)
    assert len(lines(caplog, logging.WARNING)) == 1


async def test_a_wrong_password_is_one_line_without_the_password(url: str, caplog: pytest.LogCaptureFixture) -> None:
    async with running(url.replace("guest:guest@", "guest:s3cret@")) as one:
        await until(lambda: lines(caplog, logging.WARNING), "the line that says so")
        await until(lambda: one.pauses >= 4, "some attempts, of which only the first may say so")
        assert not one.seen.up
    assert len(lines(caplog, logging.WARNING)) == 1
    assert "ACCESS_REFUSED" in lines(caplog, logging.WARNING)[0]
    assert "s3cret" not in caplog.text


async def test_a_virtual_host_that_comes_later_is_used(rabbit: RabbitServer) -> None:
    async with running(rabbit.url("later")) as one:
        await one.down()
        await rabbit.eval(
            'rabbit_vhost:add(<<"later">>, <<"tests">>), rabbit_auth_backend_internal:set_permissions('
            '<<"guest">>, <<"later">>, <<".*">>, <<".*">>, <<".*">>, <<"tests">>).'
        )
        await one.up()


async def test_of_several_urls_the_first_that_works_is_used(url: str) -> None:
    refused = f"amqp://guest:guest@127.0.0.1:{free_port()}/"
    async with running("", urls=(refused, url)) as one:
        await one.settled()
        assert one.cache.flushes == ["queue ours-uploaded did not exist"]


@pytest.mark.parametrize("steady", [False, True])
async def test_pauses_grow_until_a_connection_holds(
    rabbit: RabbitServer, url: str, monkeypatch: pytest.MonkeyPatch, steady: bool
) -> None:
    monkeypatch.setattr("proxy.amqp.consumer._STEADY", 0.0 if steady else 1000.0)
    async with FaultyTcp(rabbit.port) as tcp, running(url.replace(f":{rabbit.port}/", f":{tcp.port}/")) as one:
        await one.settled()
        tcp.cut()
        await one.down()
        await one.up()
        before = one.series
        tcp.cut()
        await one.down()
        assert one.series - before == (1 if steady else 0)


async def test_reconnects_pile_up_no_more_than_twice_the_prefetch(
    rabbit: RabbitServer, url: str, publisher: Publisher
) -> None:
    async with FaultyTcp(rabbit.port) as tcp:
        through = url.replace(f":{rabbit.port}/", f":{tcp.port}/")
        async with running(through, held=True, prefetch=3) as one:
            await one.settled()
            await publisher.event(*range(10))
            for times in range(1, 6):
                await until(partial(lambda count: one.cache.begun == count, 3 * times), "the messages to come again")
                tcp.cut()
                await one.down()
                await one.up()
            assert len(one.consumer._deliveries) <= 3 * 2 * 2
            one.cache.all_open.set()
            await one.cache.applied(*range(10))


async def test_heartbeats_missed_while_the_broker_was_asked_something_are_a_loss_like_any_other(
    rabbit: RabbitServer, url: str, publisher: Publisher
) -> None:
    """The library then cancels operations that wait for an answer, which must not end the consumer."""
    async with FaultyTcp(rabbit.port) as tcp:
        through = f"{url.replace(f':{rabbit.port}/', f':{tcp.port}/')}?heartbeat=1"
        async with running(through, check_interval=0.1) as one:
            await one.settled()
            tcp.stall()
            await one.down()
            tcp.resume()
            await one.up()
            await publisher.event(1)
            await one.cache.applied(1)
