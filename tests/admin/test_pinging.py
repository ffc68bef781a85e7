"""What each dependency's ping says when it is there, refuses, hangs, or takes no credentials of ours."""

import asyncio
import socket

import pytest

from proxy.admin.pinging import Ping, ping
from proxy.settings.setting_types import RedisAddr
from tests.support.servers.children import free_port
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.redis_sets import RedisCluster
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.upstream import FakeMediaServer

NOWHERE = "127.0.0.1:1"


async def ping_redis(addr: str, patience: float = 3.0) -> Ping:
    told = await ping(RedisAddr().parse(addr), (), NOWHERE, "", patience)
    (found,) = [each for each in told if each.name == "redis"]
    return found


async def ping_rabbitmq(url: str, patience: float = 3.0) -> Ping:
    return next(each for each in await ping(None, (url,), NOWHERE, "", patience) if each.name == "rabbitmq")


async def ping_upstream(target: str, patience: float = 3.0) -> Ping:
    (found,) = await ping(None, (), target, "", patience)
    return found


def hanging() -> socket.socket:
    """Takes connections and says nothing."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


async def test_redis_there(redis: RedisServer) -> None:
    found = await ping_redis(redis.addr)
    assert found.reached
    assert found.connect is not None
    assert found.round_trip is not None
    assert 0 < found.round_trip < 3


async def test_every_master_of_a_cluster_is_reached() -> None:
    async with RedisCluster() as cluster:
        addr = cluster.addr
        assert (await ping_redis(addr)).reached
        cluster.servers[0].kill()
        gone = await ping_redis(addr, 1.0)
        assert not gone.reached


async def test_redis_with_a_wrong_password_says_so_and_does_not_show_it() -> None:
    async with RedisServer(password="right") as server:
        found = await ping_redis(f"redis://:hidden@127.0.0.1:{server.port}", 1.0)
        assert not found.reached
        assert "hidden" not in found.address + found.error
        assert found.error


async def test_redis_frozen_is_given_up(own_redis: RedisServer) -> None:
    own_redis.freeze()
    found = await ping_redis(own_redis.addr, 0.2)
    assert found.error == "no answer within 0.2 s"
    assert (found.connect, found.round_trip) == (None, None)


async def test_rabbitmq_there(rabbit: RabbitServer) -> None:
    url = await rabbit.vhost()
    found = await ping_rabbitmq(url)
    assert found.reached
    assert found.round_trip is not None
    assert found.address == url.replace("guest:guest", "***")


async def test_rabbitmq_refusing_says_why(rabbit: RabbitServer) -> None:
    url = await rabbit.vhost()
    wrong = await ping_rabbitmq(url.replace("guest:guest", "guest:hidden"))
    assert not wrong.reached
    assert "hidden" not in wrong.address + wrong.error
    assert "ACCESS_REFUSED" in wrong.error
    nowhere = await ping_rabbitmq(f"amqp://guest:guest@127.0.0.1:{free_port()}/")
    assert not nowhere.reached


async def test_rabbitmq_that_hangs_is_given_up() -> None:
    with hanging() as listener:
        found = await ping_rabbitmq(f"amqp://guest:guest@127.0.0.1:{listener.getsockname()[1]}/", 0.2)
    assert found.error == "no answer within 0.2 s"


async def test_each_node_of_a_cluster_is_asked(rabbit: RabbitServer) -> None:
    urls = (await rabbit.vhost(), f"amqp://guest:guest@127.0.0.1:{free_port()}/")
    told = [each for each in await ping(None, urls, NOWHERE, "", 3.0) if each.name == "rabbitmq"]
    assert [each.reached for each in told] == [True, False]


async def test_upstream_there_though_it_knows_no_health_service() -> None:
    async with FakeMediaServer() as upstream:
        found = await ping_upstream(upstream.addr)
        assert found.reached
        assert found.round_trip is not None
        assert upstream.media.calls == []


async def test_upstream_away_and_upstream_that_hangs_are_given_up() -> None:
    found = await ping_upstream(f"127.0.0.1:{free_port()}", 0.2)
    assert found.error.startswith("no connection within 0.2 s: cannot connect to 127.0.0.1:")
    assert found.error.endswith("connection refused")
    async with FakeMediaServer() as upstream:
        async with FaultyTcp(int(upstream.addr.rpartition(":")[2])) as tcp:
            tcp.stall()
            assert not (await ping_upstream(tcp.addr, 0.2)).reached


@pytest.mark.parametrize("form", ["http://127.0.0.1:{}", "http://127.0.0.1:{}/v1/traces", "127.0.0.1:{}"])
async def test_a_collector_listens_or_does_not(form: str) -> None:
    with hanging() as listener:
        (_, found) = await ping(None, (), NOWHERE, form.format(listener.getsockname()[1]), 0.2)
        assert found.name == "collector"
        assert found.reached
        assert (found.connect or 0) > 0
    (_, found) = await ping(None, (), NOWHERE, form.format(free_port()), 0.2)
    assert not found.reached


@pytest.mark.parametrize("wrong", ["http://127.0.0.1:port", "http://[", "http://no.such.invalid:1"])
async def test_a_collector_that_cannot_be_one_is_not_reached(wrong: str) -> None:
    (_, found) = await ping(None, (), NOWHERE, wrong, 1.0)
    assert not found.reached
    assert "\n" not in found.error


async def test_all_are_asked_at_once() -> None:
    """However many hang, it takes as long as one."""
    loop = asyncio.get_running_loop()
    with hanging() as listener:
        port = listener.getsockname()[1]
        urls = tuple(f"amqp://guest:guest@127.0.0.1:{port}/{number}" for number in range(5))
        begun = loop.time()
        told = await ping(RedisAddr().parse(f"127.0.0.1:{port}"), urls, f"127.0.0.1:{port}", "", 0.5)
        assert loop.time() - begun < 5 * 0.5
    assert [each.reached for each in told] == [False] * 7
