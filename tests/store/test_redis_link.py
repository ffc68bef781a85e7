"""One shared connection: batches, replies in order even if callers give up, and a bound on waiting requests."""

import asyncio
import contextlib
import random
from hashlib import blake2b, sha1

import pytest
from redis.exceptions import NoScriptError

from proxy.errors import RedisRefusedError, RedisUnavailableError
from proxy.store import redis_link
from proxy.store.redis_link import _FEW, Link
from tests.support.redis_parts import Seen, Watched, linked, maker, running
from tests.support.servers.redis import RedisServer
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.waiting import until

SCRIPT = b"return ARGV[1]"


async def _echo(link: Link, text: bytes) -> object:
    return await link.request(b"ECHO", text)


class TestSharing:
    async def test_a_few_commands_go_out_at_once_and_the_others_of_a_turn_together(self, redis: RedisServer) -> None:
        seen: list[Seen] = []
        async with linked(maker(redis.port, seen)) as watched:
            before = seen[0].writes
            replies = await asyncio.gather(*[_echo(watched.link, b"%d" % number) for number in range(1000)])
        assert replies == [b"%d" % number for number in range(1000)]
        assert seen[0].writes - before == _FEW + 1
        assert len(seen) == 1

    async def test_any_bytes_pass(self, redis: RedisServer) -> None:
        value = bytes(range(256)) * 4096 + b"\r\n+OK\r\n"
        async with linked(maker(redis.port)) as watched:
            assert await _echo(watched.link, value) == value
            assert await _echo(watched.link, b"") == b""

    async def test_the_kinds_of_replies(self, redis: RedisServer) -> None:
        async with linked(maker(redis.port)) as watched:
            assert await watched.link.request(b"GET", b"none") is None
            assert await watched.link.request(b"INCR", b"n") == 1
            assert await watched.link.request(b"TIME") != []
            assert await watched.link.request(b"EVAL", b"return {1, {'a'}, false}", b"0") == [1, [b"a"], None]

    async def test_an_error_is_its_askers_alone(self, redis: RedisServer) -> None:
        async with linked(maker(redis.port)) as watched:
            bad, good = watched.link.request(b"HGET", b"k"), watched.link.request(b"ECHO", b"x")
            with pytest.raises(RedisRefusedError, match="wrong number of arguments"):
                await bad
            assert await good == b"x"
            assert watched.downs == []

    async def test_redirections_pass_as_they_are(self, redis: RedisServer) -> None:
        async with linked(maker(redis.port)) as watched:
            with pytest.raises(NoScriptError):
                await watched.link.request(b"EVALSHA", b"0" * 40, b"0")

    async def test_scripts_are_there_before_the_first_request(self, redis: RedisServer) -> None:
        sha = sha1(SCRIPT, usedforsecurity=False).hexdigest().encode()
        async with linked(maker(redis.port), SCRIPT) as watched:
            assert await watched.link.request(b"EVALSHA", sha, b"0", b"x") == b"x"

    async def test_the_run_id_is_known_before_the_first_request(self, redis: RedisServer) -> None:
        async with linked(maker(redis.port)) as watched:
            joined = (await redis.info("server"))["run_id"] + (await redis.info("replication"))["master_replid"]
            assert watched.link.run_id.decode() == blake2b(joined.encode(), digest_size=20).hexdigest()


class TestGivingUp:
    @pytest.mark.parametrize("seed", range(5))
    async def test_nobody_ever_sees_anothers_reply(self, redis: RedisServer, seed: int) -> None:
        """Callers give up at random: before their request is written, while it waits, or as its reply arrives."""
        chance = random.Random(seed)  # noqa: S311 -- the same dice each time
        wrong: list[object] = []
        answered = 0

        async def call(link: Link, number: int) -> None:
            nonlocal answered
            text = b"%d" % number * chance.choice((1, 10, 1000))
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
            reply = await _echo(link, text)
            answered += 1
            if reply != text:
                wrong.append((number, reply))

        async with linked(maker(redis.port)) as watched:
            tasks = []
            for number in range(2000):
                tasks.append(asyncio.create_task(call(watched.link, number)))
                if chance.random() < 0.4:
                    chance.choice(tasks[-20:]).cancel()
                if chance.random() < 0.2:
                    await asyncio.sleep(0)
            await asyncio.gather(*tasks, return_exceptions=True)
            assert await _echo(watched.link, b"after") == b"after"
            assert watched.downs == []
        assert wrong == []
        assert 500 < answered < 2000

    async def test_a_reply_that_comes_late_is_dropped(self, own_redis: RedisServer) -> None:
        async with linked(maker(own_redis.port)) as watched:
            own_redis.freeze()
            abandoned, kept = watched.link.request(b"ECHO", b"a"), watched.link.request(b"ECHO", b"b")
            abandoned.cancel()
            own_redis.thaw()
            assert await kept == b"b"


class TestBounds:
    async def test_how_many_wait(self, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(redis_link, "_MOST_PENDING", 10)
        async with linked(maker(own_redis.port)) as watched:
            own_redis.freeze()
            replies = [watched.link.request(b"ECHO", b"x") for _ in range(10)]
            with pytest.raises(RedisUnavailableError, match="too many"):
                watched.link.request(b"ECHO", b"y")
            own_redis.thaw()
            assert await asyncio.gather(*replies) == [b"x"] * 10
            assert await _echo(watched.link, b"z") == b"z"

    async def test_how_much_waits_those_who_gave_up_included(
        self, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_link, "_MOST_PENDING_BYTES", 1 << 20)
        async with linked(maker(own_redis.port)) as watched:
            own_redis.freeze()
            replies = [watched.link.request(b"ECHO", bytes(1 << 18)) for _ in range(3)]
            replies.pop().cancel()
            with pytest.raises(RedisUnavailableError, match="too many"):
                watched.link.request(b"ECHO", bytes(1 << 18))
            own_redis.thaw()
            await asyncio.gather(*replies)
            await until(lambda: watched.link._pending_bytes == 0)
            assert await _echo(watched.link, bytes(1 << 18)) == bytes(1 << 18)


class TestEnd:
    """Cancelling `run` ends it at once, whatever it is doing, and leaves nothing behind."""

    async def _cancelled(self, watched: Watched, task: "asyncio.Task[None]") -> None:
        task.cancel()
        assert await asyncio.wait([task], timeout=1) == ({task}, set())
        assert task.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        with pytest.raises(RedisUnavailableError):
            watched.link.request(b"PING")

    def _started(self, port: int, seen: list[Seen]) -> "tuple[Watched, asyncio.Task[None]]":
        watched = Watched(Link(maker(port, seen), [SCRIPT]))
        return watched, asyncio.create_task(watched.link.run(watched.up, watched.downs.append))

    async def test_between_two_attempts(self, own_redis: RedisServer) -> None:
        own_redis.kill()
        watched, task = self._started(own_redis.port, [])
        await until(lambda: len(watched.downs) == 3)
        await self._cancelled(watched, task)

    async def test_in_the_middle_of_an_attempt(self, own_redis: RedisServer) -> None:
        seen: list[Seen] = []
        own_redis.freeze()
        watched, task = self._started(own_redis.port, seen)
        await until(lambda: seen and seen[0].writes)
        await self._cancelled(watched, task)
        await until(lambda: seen[0].socket is None or seen[0].socket.fileno() == -1)

    async def test_at_every_step_of_connecting(self, redis: RedisServer) -> None:
        for turns in range(0, 60, 3):
            watched, task = self._started(redis.port, [])
            for _ in range(turns):
                await asyncio.sleep(0)
            await self._cancelled(watched, task)

    async def test_that_redis_py_swallowed(self, redis: RedisServer) -> None:
        """Its wait_for can swallow one on Python 3.11, if reply and cancellation arrive in the same turn."""

        class Deaf(Seen):
            async def connect(self) -> None:
                connecting = asyncio.ensure_future(super().connect())  # type: ignore[no-untyped-call]
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.shield(connecting)
                await connecting

        watched = Watched(Link(lambda: Deaf([], host="127.0.0.1", port=redis.port, socket_timeout=None), []))
        task = asyncio.create_task(watched.link.run(watched.up, watched.downs.append))
        await asyncio.sleep(0)
        await self._cancelled(watched, task)

    async def test_while_it_serves(self, redis: RedisServer) -> None:
        seen: list[Seen] = []
        watched, task = self._started(redis.port, seen)
        await watched.connected()
        await self._cancelled(watched, task)
        await until(lambda: seen[0].socket.fileno() == -1)

    async def test_while_replies_are_awaited(self, own_redis: RedisServer) -> None:
        watched, task = self._started(own_redis.port, [])
        await watched.connected()
        own_redis.freeze()
        reply = watched.link.request(b"PING")
        await self._cancelled(watched, task)
        with pytest.raises(RedisUnavailableError, match="closed"):
            await reply

    async def test_under_a_flood(self, redis: RedisServer) -> None:
        watched, task = self._started(redis.port, [])
        await watched.connected()

        async def flood() -> None:
            while True:
                await asyncio.gather(*[_echo(watched.link, bytes(1000)) for _ in range(50)])

        floods = [asyncio.create_task(flood()) for _ in range(10)]
        await until(lambda: watched.link.read_at > 0)
        task.cancel()
        async with asyncio.timeout(2):
            results = await asyncio.gather(*floods, task, return_exceptions=True)
        assert all(isinstance(result, RedisUnavailableError) for result in results[:-1])
        assert isinstance(results[-1], asyncio.CancelledError)

    async def test_with_more_unsent_than_the_socket_takes(self, redis: RedisServer) -> None:
        seen: list[Seen] = []
        async with FaultyTcp(redis.port) as tcp:
            watched = Watched(Link(maker(tcp.port, seen), []))
            async with running(watched.link.run(watched.up, watched.downs.append)) as task:
                await watched.connected()
                tcp.stall()
                reply = watched.link.request(b"ECHO", bytes(32 << 20))
                await until(lambda: seen[0].writes > 2)
                task.cancel()
                with pytest.raises(RedisUnavailableError):
                    await reply
            await until(lambda: seen[0].socket.fileno() == -1, timeout=2)
