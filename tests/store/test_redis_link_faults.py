"""A link whose Redis refuses, drops, cuts, hangs or sends garbage: waiting requests fail at once, and it reconnects."""

import asyncio

import pytest
from redis.backoff import ExponentialWithJitterBackoff

from proxy.errors import RedisRefusedError, RedisUnavailableError
from proxy.store import redis_link
from proxy.store.redis_link import Link
from tests.support.redis_parts import Seen, Watched, linked, maker, running
from tests.support.servers.redis import RedisServer
from tests.support.servers.streams import StreamServer
from tests.support.servers.tcp import FaultyTcp

ACL_USER = (
    "user proxy on >pw ~media:* -@all +info +time +ping +select +echo +script|load +eval "
    "+evalsha +hget +hset +hdel +hkeys +pttl +pexpire +unlink +scan +get +set"
)


async def _answers(watched: Watched) -> None:
    assert await watched.link.request(b"ECHO", b"x") == b"x"


class TestReconnecting:
    async def test_after_a_kill_it_is_another_process(self, own_redis: RedisServer) -> None:
        async with linked(maker(own_redis.port)) as watched:
            first = watched.link.run_id
            own_redis.freeze()
            pending = watched.link.request(b"ECHO", b"x")
            own_redis.kill()
            with pytest.raises(RedisUnavailableError):
                await pending
            await watched.down("cannot connect")  # refused
            with pytest.raises(RedisUnavailableError, match=r"127\.0\.0\.1"):
                watched.link.request(b"PING")
            await own_redis.start()
            await watched.connected(2)
            assert watched.link.run_id not in {b"", first}
            await _answers(watched)

    async def test_dropped_by_its_owner(self, redis: RedisServer) -> None:
        async with linked(maker(redis.port)) as watched:
            watched.link.drop("on purpose")
            with pytest.raises(RedisUnavailableError, match="on purpose"):
                watched.link.request(b"PING")
            await watched.connected(2)
            assert watched.downs == ["on purpose"]
            await _answers(watched)

    async def test_ever_more_slowly_where_no_connection_lasts(
        self, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The link must not connect without pauses to a server that accepts connections and closes them at once."""
        asked: list[int] = []
        enough = asyncio.Event()

        def compute(_: object, failures: int) -> float:
            asked.append(failures)
            if len(asked) == 5:
                enough.set()
            return 0.0

        monkeypatch.setattr(ExponentialWithJitterBackoff, "compute", compute)
        link = Link(maker(redis.port), [])
        async with running(
            link.run(lambda: link.request(b"QUIT").add_done_callback(lambda done: done.exception()), lambda _: None)
        ):
            await asyncio.wait_for(enough.wait(), 10)
        assert asked[:5] == [2, 3, 4, 5, 6]

    async def test_at_once_after_one_that_lasted(self, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
        def compute(_: object, failures: int) -> float:
            raise AssertionError(failures)

        monkeypatch.setattr(ExponentialWithJitterBackoff, "compute", compute)
        monkeypatch.setattr(redis_link, "_STEADY", 0.0)
        async with linked(maker(redis.port)) as watched:
            for times in range(2, 6):
                watched.link.drop("on purpose")
                await watched.connected(times)


class TestRefusal:
    async def test_no_password_and_a_wrong_one(self) -> None:
        async with RedisServer(password="pw-secret") as server:
            async with linked(maker(server.port), up=False) as watched:
                await watched.down("Authentication required")
            async with linked(maker(server.port, password="wrong-secret"), up=False) as watched:
                await watched.down("invalid username-password pair")
            assert "secret" not in "".join(watched.downs)
            async with linked(maker(server.port, password="pw-secret")) as watched:
                await _answers(watched)

    async def test_a_user_who_may_do_just_what_the_proxy_needs(self) -> None:
        async with (
            RedisServer(ACL_USER) as server,
            linked(maker(server.port, username="proxy", password="pw"), b"return 1") as watched,
        ):
            await _answers(watched)
            with pytest.raises(RedisRefusedError, match="permissions"):
                await watched.link.request(b"GET", b"other:key")
            await _answers(watched)
            assert watched.downs == []

    async def test_one_who_may_not_even_ask_for_the_run_id(self) -> None:
        async with (
            RedisServer("user proxy on >pw ~* +@all -info") as server,
            linked(maker(server.port, username="proxy", password="pw"), up=False) as watched,
        ):
            await watched.down("permissions")

    async def test_one_whose_password_is_gone(self, own_redis: RedisServer) -> None:
        async with linked(maker(own_redis.port)) as watched:
            await own_redis.cli("CONFIG", "SET", "requirepass", "new")
            watched.link.drop("on purpose")
            await watched.down("Authentication required")

    async def test_while_it_loads_its_data(self) -> None:
        slow = ("loading-process-events-interval-bytes 1024", "key-load-delay 2000")
        async with RedisServer(*slow) as server:
            async with server.client() as client:
                await client.mset({f"key {number}": b"x" * 500 for number in range(300)})
                await client.save()
            server.kill()
            server.child.spawn()
            async with linked(maker(server.port)) as watched:
                assert any("loading" in reason for reason in watched.downs)
                await _answers(watched)

    async def test_a_replica(self, redis: RedisServer) -> None:
        async with RedisServer(replica_of=redis) as replica, linked(maker(replica.port), up=False) as watched:
            await watched.down("read-only replica")

    async def test_a_master_that_is_demoted(self, own_redis: RedisServer, redis: RedisServer) -> None:
        async with linked(maker(own_redis.port)) as watched:
            await own_redis.cli("REPLICAOF", "127.0.0.1", redis.port)
            after = [watched.link.request(b"SET", b"k", b"v"), watched.link.request(b"ECHO", b"x")]
            results = await asyncio.gather(*after, return_exceptions=True)
            assert isinstance(results[0], RedisRefusedError)
            await watched.down("read-only replica")
            await own_redis.cli("REPLICAOF", "NO", "ONE")
            await watched.connected(2)
            await _answers(watched)


class TestBrokenConnections:
    async def test_half_open_from_the_start(self, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(redis_link, "CONNECT_TIMEOUT", 0.1)
        async with FaultyTcp(redis.port) as tcp:
            tcp.swallow = True
            async with linked(maker(tcp.port), up=False) as watched:
                await watched.down("no answer to connecting within 0.1 s")
                tcp.resume()
                monkeypatch.undo()
                await watched.connected()
                await _answers(watched)

    async def test_half_open_later(self, redis: RedisServer) -> None:
        async with FaultyTcp(redis.port) as tcp, linked(maker(tcp.port)) as watched:
            tcp.swallow = True
            pending = watched.link.request(b"ECHO", b"x")
            watched.link.drop("no answer")
            with pytest.raises(RedisUnavailableError, match="no answer"):
                await pending
            tcp.resume()
            await watched.connected(2)
            await _answers(watched)

    async def test_a_reply_that_is_cut_in_its_middle(self, redis: RedisServer) -> None:
        async with FaultyTcp(redis.port) as tcp, linked(maker(tcp.port)) as watched:
            whole, cut = watched.link.request(b"ECHO", b"x"), watched.link.request(b"ECHO", bytes(100_000))
            tcp.cut_reply_after = 60_000
            assert await whole == b"x"
            with pytest.raises(RedisUnavailableError):
                await cut
            tcp.resume()
            await watched.connected(2)
            await _answers(watched)

    async def test_a_reply_that_nobody_asked_for(self, redis: RedisServer) -> None:
        async with linked(maker(redis.port)) as watched:
            await watched.link.request(b"SUBSCRIBE", b"channel")
            await redis.cli("PUBLISH", "channel", "surprise")
            await watched.down("nobody asked for")
            await watched.connected(2)
            await _answers(watched)

    async def test_bytes_that_are_no_redis(self, redis: RedisServer) -> None:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        async with StreamServer(answer) as web:
            async with linked(maker(web.port), up=False) as watched:
                await watched.down("Protocol error")

    async def test_what_redis_py_trips_over(self) -> None:
        def make() -> Seen:
            raise TypeError("'int' object is not subscriptable")

        async with linked(make, up=False) as watched:
            await watched.down("not subscriptable")

    async def test_a_host_that_does_not_exist(self) -> None:
        def make() -> Seen:
            return Seen([], host="no-such-host.invalid", port=1)

        async with linked(make, up=False) as watched:
            await watched.down("no-such-host.invalid")
