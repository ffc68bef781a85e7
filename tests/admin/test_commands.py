"""The operators' commands as a person runs them, against a running proxy."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from proxy import __version__
from tests.support.calling import Gateway
from tests.support.servers.children import free_port
from tests.support.servers.process import ROOT, ProxyProcess
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until

COMMANDS = ("stats", "lookup", "explain", "invalidate", "flush", "mode", "ping")


@dataclass(frozen=True, slots=True)
class Ran:
    status: int
    out: str
    err: str


async def run(*arguments: str, **variables: str) -> Ran:
    """The command as a process of its own."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **variables}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy", *arguments, env=environment, stdout=-1, stderr=-1, stdin=-3
    )
    out, err = await child.communicate()
    assert child.returncode is not None
    return Ran(child.returncode, out.decode(), err.decode())


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[FakeMediaServer]:
    async with FakeMediaServer() as upstream:
        upstream.media.add("User", 1)
        yield upstream


@pytest_asyncio.fixture
async def proxy(own_redis: RedisServer, upstream: FakeMediaServer) -> AsyncIterator[ProxyProcess]:
    async with ProxyProcess(REDIS_ADDR=own_redis.addr, MEDIA_SERVICE_ADDR=upstream.addr, ADMIN_TOKEN="secret") as proxy:
        yield proxy


async def ask(proxy: ProxyProcess, *arguments: str) -> Ran:
    return await run(*arguments, ADMIN_ADDR=proxy.settings["ADMIN_ADDR"], ADMIN_TOKEN="secret")


@pytest.mark.parametrize("command", COMMANDS)
async def test_each_says_what_it_does_and_its_exit_status(command: str) -> None:
    shown = await run(command, "--help")
    assert shown.status == 0
    for part in ("Exit status:", "0  done", "2  an argument or a setting", "--json"):
        assert part in shown.out


async def test_what_the_proxy_does_not_understand_is_a_mistake_like_any_other(proxy: ProxyProcess) -> None:
    shown = await ask(proxy, "explain", "user", "1", "--metadata", "abc")
    assert (shown.status, shown.out, shown.err.count("\n")) == (2, "", 1)
    assert shown.err.endswith("; see: media-cache-proxy explain --help\n")


async def test_stats(proxy: ProxyProcess) -> None:
    async with Gateway(proxy.addr) as gateway:
        for _ in range(4):
            await gateway.read()
        await gateway.upload()
    shown = await ask(proxy, "stats")
    assert (shown.status, shown.err) == (0, "")
    assert re.search(r"^a hit takes +p50 [0-9.]+ ms, p99 [0-9.]+ ms in the last 5 minutes$", shown.out, re.MULTILINE)
    assert re.search(r"^a miss takes +p50 [0-9.]+ ms, p99 [0-9.]+ ms in the last 5 minutes$", shown.out, re.MULTILINE)
    assert "hit ratio     75.0 % in the last 5 minutes, 75.0 % in all" in shown.out
    assert "redis         up for " in shown.out
    assert "  user 1  write  avatars" in shown.out
    told = json.loads((await ask(proxy, "stats", "--json")).out)
    assert told["version"] == __version__
    assert told["results"]["hit"] == 3


async def test_lookup_and_invalidate(proxy: ProxyProcess) -> None:
    async with Gateway(proxy.addr) as gateway:
        await gateway.read("User", 1, "avatars", per_page=1)
    shown = await ask(proxy, "lookup", "user", "1")
    assert shown.out.startswith("user 1: 1 stored\nCOLLECTION  PAGE  PER PAGE  FOR        STATE  AGE")
    assert "\navatars     1     1         everybody  fresh  " in shown.out
    assert len(json.loads((await ask(proxy, "lookup", "user", "1", "--json")).out)["entries"]) == 1
    done = await ask(proxy, "invalidate", "User", "1", "--collection", "images")
    assert (done.status, done.out) == (0, "User 1 is invalidated\n")
    shown = await ask(proxy, "lookup", "user", "1")
    assert shown.out.startswith("user 1: 0 stored\nlast invalidated 20")
    assert "by admin" in shown.out


async def test_explain(proxy: ProxyProcess) -> None:
    shown = await ask(proxy, "explain", "user", "1", "--collection=avatars", "--metadata=authorization:Bearer hidden")
    assert shown.status == 0
    assert shown.out.startswith("miss\n  Nothing is stored for this request.\n")
    told = json.loads((await ask(proxy, "explain", "user", "1", "--per-page=100", "--json")).out)
    assert told["result"] == "bypass"


async def test_a_negative_id_is_no_flag(proxy: ProxyProcess) -> None:
    shown = await ask(proxy, "lookup", "--", "user", "-5")
    assert (shown.status, shown.out) == (0, "user -5: 0 stored\n")


async def test_flush(proxy: ProxyProcess) -> None:
    async with Gateway(proxy.addr) as gateway:
        await gateway.read()
        done = await ask(proxy, "flush")
        assert (done.status, done.out) == (0, "the whole cache is flushed\n")
        assert (await gateway.read()).x_cache == "miss"
    assert json.loads((await ask(proxy, "flush", "--json")).out) == {"done": True}


async def test_mode(proxy: ProxyProcess) -> None:
    async with Gateway(proxy.addr) as gateway:
        assert await gateway.x_cache() == "miss"
        await gateway.hits()
        assert (await ask(proxy, "mode")).out == "the mode is on\n"
        switched = await ask(proxy, "mode", "OFF")
        assert (switched.status, switched.out) == (0, "the mode is off; it was on\n")
        assert await gateway.x_cache() == "bypass"
        assert json.loads((await ask(proxy, "mode", "--json")).out) == {"mode": "off"}
        told = await ask(proxy, "mode", "on", "--json")
        assert json.loads(told.out) == {"mode": "on", "before": "off"}
        assert await gateway.x_cache() == "hit"


async def test_redis_away_an_order_is_kept_and_status_3(proxy: ProxyProcess, own_redis: RedisServer) -> None:
    own_redis.kill()
    await proxy.logged("redis lost")
    invalidated, flushed = await asyncio.gather(ask(proxy, "invalidate", "user", "1"), ask(proxy, "flush"))
    assert (invalidated.status, flushed.status) == (3, 3)
    assert "Redis has not confirmed it yet" in invalidated.out
    shown = await ask(proxy, "lookup", "user", "1")
    assert (shown.status, shown.out) == (1, "")
    assert shown.err.startswith("media-cache-proxy: Redis cannot be asked now: ")
    assert shown.err.count("\n") == 1
    told = await ask(proxy, "stats")
    assert "redis         lost for " in told.out
    assert "2 invalidations not confirmed by Redis yet" in told.out


@pytest.mark.parametrize("arguments", [["stats"], ["lookup", "user", "1"], ["flush"]])
async def test_no_proxy_is_one_line_and_status_1(arguments: list[str]) -> None:
    shown = await run(*arguments, ADMIN_ADDR=f"127.0.0.1:{free_port()}")
    assert (shown.status, shown.out) == (1, "")
    assert shown.err.startswith("media-cache-proxy: ADMIN_ADDR: cannot ask 127.0.0.1:")
    assert shown.err.count("\n") == 1


async def test_a_wrong_token_is_one_line_and_status_1(proxy: ProxyProcess) -> None:
    shown = await run("stats", ADMIN_ADDR=proxy.settings["ADMIN_ADDR"], ADMIN_TOKEN="wrong")
    assert (shown.status, shown.out) == (1, "")
    assert (
        shown.err
        == f"media-cache-proxy: ADMIN_TOKEN: the proxy at {proxy.settings['ADMIN_ADDR']} does not accept this token\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lookup"], "missing argument 'TAG | TYPE ID'"),
        (["lookup", "user", "soon"], "'soon' is not an id; accepted: a whole number"),
        (["mode", "sometimes"], "MODE: 'sometimes' is not understood; accepted: 'on', 'off', 'shadow'"),
        (["stats", "--admin-addr=soon"], "ADMIN_ADDR: 'soon' is not understood; accepted: host:port"),
        (["ping", "--redis-addr=redis://u:hidden@h:x"], "REDIS_ADDR: 'redis://***@h***' is not understood"),
    ],
)
async def test_a_mistake_is_one_line_and_status_2(arguments: list[str], said: str) -> None:
    shown = await run(*arguments)
    assert (shown.status, shown.out) == (2, "")
    assert said in shown.err
    assert shown.err.count("\n") == 1


async def test_ping_reaches_everything(own_redis: RedisServer, rabbit: RabbitServer, upstream: FakeMediaServer) -> None:
    addresses = {
        "REDIS_ADDR": own_redis.addr,
        "RABBITMQ_ADDR": await rabbit.vhost(),
        "MEDIA_SERVICE_ADDR": upstream.addr,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{own_redis.port}",
    }
    shown = await run("ping", **addresses)
    assert (shown.status, shown.err) == (0, "")
    assert [line.split()[0] for line in shown.out.splitlines()] == ["upstream", "redis", "rabbitmq", "collector"]
    assert shown.out.count("connected in ") == 4
    assert shown.out.count("round trip ") == 3
    assert shown.out.splitlines()[3].endswith("only its port was tried")
    assert "guest:guest" not in shown.out
    told = json.loads((await run("ping", "--json", **addresses)).out)
    assert told["reached"]
    assert [each["reached"] for each in told["dependencies"]] == [True] * 4


async def test_ping_says_what_it_does_not_reach_and_is_status_1(upstream: FakeMediaServer) -> None:
    shown = await run(
        "ping",
        REDIS_ADDR=f"redis://user:hidden@127.0.0.1:{free_port()}",
        RABBITMQ_ADDR=f"amqp://user:hidden@127.0.0.1:{free_port()}/",
        MEDIA_SERVICE_ADDR=upstream.addr,
    )
    assert (shown.status, shown.err) == (1, "")
    up, redis, rabbitmq = shown.out.splitlines()
    assert up.startswith("upstream")
    assert "connected in" in up
    assert "refused" in redis.lower() or "connect call failed" in redis.lower()
    assert "refused" in rabbitmq.lower() or "connect call failed" in rabbitmq.lower()
    assert "hidden" not in shown.out


async def test_what_is_not_configured_is_not_pinged(upstream: FakeMediaServer) -> None:
    shown = await run("ping", REDIS_ADDR="", RABBITMQ_ADDR="", MEDIA_SERVICE_ADDR=upstream.addr)
    assert shown.status == 0
    assert len(shown.out.splitlines()) == 1


async def test_a_proxy_whose_admin_port_is_taken_serves_without(proxy: ProxyProcess, upstream: FakeMediaServer) -> None:
    async with ProxyProcess(ADMIN_ADDR=proxy.settings["ADMIN_ADDR"], MEDIA_SERVICE_ADDR=upstream.addr) as second:
        (line,) = await second.logged("going on without the admin server")
        assert "Address already in use" in line
        async with Gateway(second.addr) as gateway:
            assert (await gateway.read()).x_cache == "miss"

        async def ready() -> bool:
            return (await second.probe("/readyz"))[0] == 200

        await until(ready, "it to be ready")
