"""One Redis as the cache sees it: 50 ms per call, a breaker closed by pings, a clock, and the time after an outage."""

import asyncio
import time

import pytest

from proxy.errors import RedisRefusedError, RedisUnavailableError
from proxy.store import redis_health, redis_node, redis_pings
from proxy.store.redis_node import CALL_BUDGET, Budget, Node
from tests.support.redis_parts import maker, noded
from tests.support.servers.redis import RedisServer
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.waiting import until

SLACK = 0.5
"""Seconds by which the event loop of a test may be late; without the rule under test it would be several."""


async def _ask(node: Node, *command: bytes) -> object:
    return await node.ask(Budget(), *(command or (b"ECHO", b"x")))


async def _times_out(node: Node) -> float:
    """Makes one call to a Redis that does not answer; returns how long it took."""
    begun = time.monotonic()
    with pytest.raises(RedisUnavailableError):
        await _ask(node)
    return time.monotonic() - begun


class TestBudget:
    async def test_an_answer_spends_some_of_it(self, redis: RedisServer) -> None:
        async with noded(maker(redis.port)) as (node, _):
            budget = Budget()
            assert await node.ask(budget, b"ECHO", b"x") == b"x"
            assert 0 < budget.left < CALL_BUDGET

    async def test_a_frozen_redis_takes_no_more_of_a_call_than_that(self, own_redis: RedisServer) -> None:
        async with noded(maker(own_redis.port)) as (node, _):
            own_redis.freeze()
            begun = time.monotonic()
            budget = Budget()
            for _ in range(50):
                with pytest.raises(RedisUnavailableError):
                    await node.ask(budget, b"ECHO", b"x")
            assert time.monotonic() - begun < CALL_BUDGET + SLACK

    async def test_what_is_spent_is_spent(self, redis: RedisServer) -> None:
        async with noded(maker(redis.port)) as (node, told):
            with pytest.raises(RedisUnavailableError, match="50 ms"):
                await node.ask(Budget(0.0), b"ECHO", b"x")
            assert node.usable
            assert told.changes == [(True, "")]

    async def test_who_gives_up_leaves_the_others_their_replies(self, own_redis: RedisServer) -> None:
        async with noded(maker(own_redis.port)) as (node, _):
            own_redis.freeze()
            gone = asyncio.create_task(node.ask(Budget(10), b"ECHO", b"gone"))
            kept = asyncio.create_task(node.ask(Budget(10), b"ECHO", b"kept"))
            await asyncio.sleep(0)
            gone.cancel()
            own_redis.thaw()
            assert await kept == b"kept"
            assert gone.cancelled()

    async def test_a_refusal_is_no_outage(self, redis: RedisServer) -> None:
        async with noded(maker(redis.port)) as (node, told):
            with pytest.raises(RedisRefusedError):
                await _ask(node, b"HGET", b"k")
            assert node.usable
            assert told.changes == [(True, "")]


class TestBreaker:
    async def test_a_freeze_opens_it_and_the_thaw_closes_it(self, own_redis: RedisServer) -> None:
        async with noded(maker(own_redis.port)) as (node, told):
            own_redis.freeze()
            await _times_out(node)
            assert not node.usable
            assert await _times_out(node) < SLACK  # the next one is spared
            own_redis.thaw()
            await until(lambda: node.usable, "the breaker to close by itself", timeout=5)
            assert await _ask(node) == b"x"
            assert [up for up, _ in told.changes] == [True, False, True]
            assert "no answer within" in told.changes[1][1]

    async def test_after_a_long_freeze_too(self, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
        """The freeze lasts until pings drop the connection. The kernel accepts new ones, but Redis does not answer."""
        monkeypatch.setattr(redis_pings, "_DEAD_AFTER", 0.2)
        async with noded(maker(own_redis.port)) as (node, told):
            own_redis.freeze()
            await until(lambda: not node._link.connected.is_set(), "the connection to be given up")
            assert not node.usable
            own_redis.thaw()
            await until(lambda: node.usable, "the node to be back", timeout=5)
            assert [up for up, _ in told.changes] == [True, False, True]

    async def test_a_kill_and_a_start(self, own_redis: RedisServer) -> None:
        async with noded(maker(own_redis.port)) as (node, told):
            first = node.run_id
            own_redis.kill()
            await until(lambda: not node.usable)
            with pytest.raises(RedisUnavailableError):
                await _ask(node)
            await own_redis.start()
            await until(lambda: node.usable, "the node to be back", timeout=5)
            assert node.run_id != first
            assert [up for up, _ in told.changes] == [True, False, True]

    async def test_one_that_was_a_replica_between_two_pings_is_another(self, own_redis: RedisServer) -> None:
        async with noded(maker(own_redis.port)) as (node, _):
            first = node.run_id
            async with own_redis.client() as client:
                async with client.pipeline() as pipeline:  # a transaction: no ping comes in between
                    await pipeline.execute_command("REPLICAOF", "127.0.0.1", "1")
                    await pipeline.execute_command("REPLICAOF", "NO", "ONE")
                    await pipeline.execute()
            await until(lambda: node.run_id != first and node.usable, "the node to be another", timeout=5)

    async def test_one_that_was_never_there_is_told_once(self, own_redis: RedisServer) -> None:
        own_redis.kill()
        async with noded(maker(own_redis.port), up=False) as (node, told):
            await until(lambda: told.changes)
            with pytest.raises(RedisUnavailableError, match=r"127\.0\.0\.1"):
                await _ask(node)
            await own_redis.start()
            await until(lambda: node.usable)
            assert [up for up, _ in told.changes] == [False, True]

    async def test_a_slow_redis_opens_it_by_its_median(
        self, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_node, "_TURNS", 0)  # a busy test machine must not excuse Redis
        async with FaultyTcp(redis.port) as tcp, noded(maker(tcp.port)) as (node, told):
            tcp.delay = 0.02
            answered = 0
            while node.usable:
                assert await node.ask(Budget(1.0), b"ECHO", b"x") == b"x"
                answered += 1
            assert answered == 17
            assert "slow" in told.changes[1][1]
            tcp.resume()
            await until(lambda: node.usable, "the breaker to close by itself", timeout=5)
            assert node.min_born_ms() == 0  # slowness is no outage

    async def test_our_own_lateness_is_not_blamed_on_redis(self, redis: RedisServer) -> None:
        async with noded(maker(redis.port)) as (node, told):
            for _ in range(25):
                asking = [asyncio.create_task(_ask(node)) for _ in range(3)]
                await asyncio.sleep(0)
                time.sleep(0.08)  # noqa: ASYNC251 -- the loop is late on purpose
                assert await asyncio.gather(*asking) == [b"x"] * 3
            assert node.usable
            assert told.changes == [(True, "")]

    async def test_what_nobody_waits_for_is_sent_though_it_is_open(self, own_redis: RedisServer) -> None:
        async with noded(maker(own_redis.port)) as (node, _):
            own_redis.freeze()
            await _times_out(node)
            reply = node.send(b"ECHO", b"given back")
            own_redis.thaw()
            assert await reply == b"given back"


class TestOutage:
    async def test_entries_from_before_its_end_are_absent_for_two_seconds(
        self, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_health, "_QUARANTINE", 0.5)
        async with noded(maker(own_redis.port)) as (node, _):
            assert node.min_born_ms() == 0
            own_redis.freeze()
            await _times_out(node)
            frozen_at = time.time() * 1000
            own_redis.thaw()
            await until(lambda: node.usable)
            until_ms = node.min_born_ms()
            assert frozen_at <= until_ms <= time.time() * 1000 + 10
            await until(lambda: node.min_born_ms() == 0, "the quarantine's end", timeout=2)

    async def test_a_lost_connection_is_one(self, own_redis: RedisServer) -> None:
        async with noded(maker(own_redis.port)) as (node, _):
            node.drop("on purpose")
            await until(lambda: not node.usable)
            await until(lambda: node.usable)
            assert node.min_born_ms() > 0

    async def test_a_first_connection_is_none(self, redis: RedisServer) -> None:
        async with noded(maker(redis.port)) as (node, _):
            assert node.min_born_ms() == 0

    async def test_one_before_the_first_connection_is_one(self, own_redis: RedisServer) -> None:
        own_redis.kill()
        async with noded(maker(own_redis.port), up=False) as (node, told):
            await until(lambda: told.changes)
            await own_redis.start()
            await until(lambda: node.usable)
            assert node.min_born_ms() > 0

    def test_it_lasts_two_seconds(self) -> None:
        assert redis_health._QUARANTINE == 2.0


class TestClock:
    async def test_it_is_redis_own(self, redis: RedisServer) -> None:
        async with noded(maker(redis.port)) as (node, _):
            seconds, micros = await redis.cli("TIME")
            assert abs(node.now_ms() - (seconds * 1000 + micros / 1000)) < 1000 * SLACK

    async def test_a_slow_ping_does_not_move_it(self, redis: RedisServer) -> None:
        """Its reply is a second old when it arrives; if it were used, it would set the clock back by half of that."""
        async with FaultyTcp(redis.port) as tcp, noded(maker(tcp.port)) as (node, _):
            offset_ms = node.health.clock._offset_ms
            tcp.delay = 1.0
            loop = asyncio.get_running_loop()
            slowed = loop.time()
            await until(lambda: node._link.read_at > slowed + 1.0, "the answer to a slow ping")
            assert abs(node.health.clock._offset_ms - offset_ms) < 250


class TestDemotion:
    async def test_a_master_that_became_a_replica_is_noticed_though_it_still_answers_reads(
        self, own_redis: RedisServer, redis: RedisServer
    ) -> None:
        async with noded(maker(own_redis.port)) as (node, told):
            await own_redis.cli("REPLICAOF", "127.0.0.1", redis.port)
            await until(lambda: not node.usable, "the demotion to be noticed", timeout=5)
            await until(lambda: "replica" in node._link.failure)
            await own_redis.cli("REPLICAOF", "NO", "ONE")
            await until(lambda: node.usable, "the master to be back", timeout=5)
            assert [up for up, _ in told.changes] == [True, False, True]


async def test_its_end_leaves_nothing_behind(redis: RedisServer) -> None:
    async with noded(maker(redis.port)) as (node, _):
        pass
    assert asyncio.all_tasks() == {asyncio.current_task()}
    with pytest.raises(RedisUnavailableError):
        await _ask(node)
