"""The real servers of the tests do what their names say: a killed server is really gone."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import aio_pika
import grpc.aio
import pytest
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import InvalidFrameError
from redis import exceptions

from proxy.pb import media_pb2 as pb
from proxy.pb.media_pb2_grpc import MediaServiceStub
from tests.support.servers.children import Child, free_port, program
from tests.support.servers.process import ROOT, ProxyProcess
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.redis_sets import RedisCluster, SentinelSet
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until


class TestRedis:
    async def test_killed_it_refuses_and_started_again_it_has_what_was_saved(self, own_redis: RedisServer) -> None:
        await own_redis.cli("SET", "key", "saved")
        await own_redis.cli("SAVE")
        await own_redis.cli("SET", "key", "not saved")
        own_redis.kill()
        with pytest.raises(exceptions.ConnectionError, match="Connect call failed"):
            await own_redis.cli("GET", "key")
        await own_redis.start()
        assert await own_redis.cli("GET", "key") == b"saved"

    async def test_an_appendonly_server_has_everything_after_a_restart(self) -> None:
        async with RedisServer(appendonly=True) as server:
            await server.cli("SET", "key", "value")
            before = (await server.info("server"))["run_id"]
            await server.restart()
            assert await server.cli("GET", "key") == b"value"
            assert (await server.info("server"))["run_id"] != before

    async def test_frozen_it_accepts_and_answers_nothing_until_thawed(self, own_redis: RedisServer) -> None:
        own_redis.freeze()
        reader, writer = await asyncio.open_connection("127.0.0.1", own_redis.port)
        writer.write(b"PING\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readline(), 0.2)
        own_redis.thaw()
        assert await reader.readline() == b"+PONG\r\n"
        writer.close()

    async def test_a_password_is_asked_for(self) -> None:
        async with RedisServer(password="secret") as server:
            assert await server.cli("PING") is True
            async with server.client(password=None) as stranger:
                with pytest.raises(exceptions.AuthenticationError):
                    await stranger.ping()

    async def test_a_replica_follows_its_master(self, own_redis: RedisServer) -> None:
        await own_redis.cli("SET", "key", "value")
        async with RedisServer(replica_of=own_redis) as replica:

            async def copied() -> bool:
                return bool(await replica.cli("GET", "key") == b"value")

            await until(copied, "the replica to have the key")

    async def test_a_start_that_fails_says_why(self) -> None:
        server = RedisServer("no-such-directive yes")
        with pytest.raises(RuntimeError, match="no-such-directive"):
            await server.start()
        server.remove()

    @pytest.mark.parametrize("turn", [1, 2])
    async def test_the_shared_server_is_given_empty(self, redis: RedisServer, turn: int) -> None:
        assert await redis.cli("SET", "left behind", turn, "NX") is True


class TestRedisSets:
    async def test_sentinel_promotes_the_replica_when_the_master_is_killed(self) -> None:
        async with SentinelSet() as redis:
            assert await redis.master_port() == redis.master.port
            redis.master.kill()
            await redis.failed_over()
            assert await redis.master_port() == redis.replica.port
            assert (await redis.replica.info("replication"))["role"] == "master"

    async def test_a_cluster_splits_the_keys_among_its_nodes(self) -> None:
        async with RedisCluster() as cluster:
            owners = {key: await cluster.owner(key) for key in ("a", "b", "c", "d", "e")}
            assert len({owner.port for owner in owners.values()}) == 3
            for key, owner in owners.items():
                assert await owner.cli("SET", key, "value") is True
                other = next(server for server in cluster.servers if server is not owner)
                with pytest.raises(exceptions.MovedError):
                    await other.cli("GET", key)


class TestRabbit:
    async def test_a_virtual_host_is_seen_by_nobody_else(self, rabbit: RabbitServer) -> None:
        one, other = await rabbit.vhost(), await rabbit.vhost()
        async with await aio_pika.connect(one) as here, await aio_pika.connect(other) as there:
            await _publish(await here.channel(), "queue", b"here")
            queue = await (await there.channel()).declare_queue("queue")
            assert queue.declaration_result.message_count == 0

    async def test_a_dropped_virtual_host_is_gone(self, rabbit: RabbitServer) -> None:
        url = await rabbit.vhost()
        await rabbit.drop(url)
        # What aiormq makes of Connection.Close in answer to Connection.Open.
        with pytest.raises(InvalidFrameError, match=r"Connection\.Close"):
            await aio_pika.connect(url)

    async def test_rabbitmqctl_and_eval_reach_the_node(self, rabbit: RabbitServer) -> None:
        vhost = (await rabbit.vhost()).rpartition("/")[2]
        assert vhost in (await rabbit.ctl("list_vhosts")).split()
        assert await rabbit.eval("1 + 1.") == "2"
        with pytest.raises(RuntimeError, match="no_such_module"):
            await rabbit.eval("no_such_module:f().")

    async def test_killed_it_refuses_and_started_again_it_has_what_was_confirmed(
        self, own_rabbit: RabbitServer
    ) -> None:
        url = await own_rabbit.vhost()
        async with await aio_pika.connect(url) as connection:
            await _publish(await connection.channel(), "queue", b"kept")
        own_rabbit.kill()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", own_rabbit.port)
        await own_rabbit.start()
        async with await aio_pika.connect(url) as connection:
            queue = await (await connection.channel()).declare_queue("queue", durable=True, passive=True)
            message = await queue.get()
            assert message.body == b"kept"

    async def test_frozen_it_answers_nothing_until_thawed(self, own_rabbit: RabbitServer) -> None:
        url = await own_rabbit.vhost()
        own_rabbit.freeze()
        connecting = asyncio.ensure_future(aio_pika.connect(url))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(connecting), 0.2)
        own_rabbit.thaw()
        async with await connecting as connection:
            await _publish(await connection.channel(), "queue", b"after")

    @pytest.mark.parametrize("turn", [1, 2])
    async def test_the_breakable_broker_is_given_running(self, own_rabbit: RabbitServer, turn: int) -> None:
        async with await aio_pika.connect(await own_rabbit.vhost()) as connection:
            assert not connection.is_closed, turn
        own_rabbit.freeze()  # left so: the next test does not notice


async def _publish(channel: AbstractChannel, queue: str, body: bytes) -> None:
    """Publishes; returns once the broker has confirmed."""
    await channel.declare_queue(queue, durable=True)
    await channel.default_exchange.publish(Message(body, delivery_mode=DeliveryMode.PERSISTENT), queue)


class TestProxyProcess:
    async def test_it_serves_what_its_settings_say_and_drains_when_told(self) -> None:
        async with FakeMediaServer() as upstream, ProxyProcess(MEDIA_SERVICE_ADDR=upstream.addr) as proxy:
            upstream.media.add("user", 1)
            async with grpc.aio.insecure_channel(proxy.addr) as channel:
                answer = await MediaServiceStub(channel).GetAllMedia(pb.GetAllMediaRequest())
            assert answer.data.total == 1
            assert await proxy.probe("/healthz") == (200, "ok\n")
            assert await proxy.probe("/nothing") == (404, "not found; there are /healthz, /readyz and /metrics\n")
            proxy.terminate()
            assert len(await proxy.logged("draining")) == 1
            assert await proxy.exited() == 0

    async def test_killed_it_is_gone_and_the_signal_is_its_status(self) -> None:
        async with ProxyProcess() as proxy:
            proxy.kill()
            assert await proxy.exited() == -9
            with pytest.raises((ConnectionRefusedError, ConnectionResetError)):  # what it started dies just after it
                await proxy.probe("/healthz")

    async def test_a_start_that_fails_says_why(self) -> None:
        proxy = ProxyProcess(CACHE_TTL="soon")
        with pytest.raises(RuntimeError, match="ended with status 2:\nmedia-cache-proxy: CACHE_TTL: 'soon'"):
            await proxy.start()
        proxy.remove()

    async def test_metrics_are_summed_over_the_labels_not_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        proxy = ProxyProcess()
        text = '# HELP a b\na{x="1",y="2"} 3.0\na{x="1",y="3"} 4\na{xx="1"} 8\nab 16\n'

        async def probe(path: str) -> tuple[int, str]:
            return 200, text if path == "/metrics" else ""

        monkeypatch.setattr(proxy, "probe", probe)
        assert [await proxy.metric(name) for name in ("a", 'a{x="1"}', 'a{y="3",x="1"}', "b")] == [15, 7, 4, 0]
        proxy.remove()


class TestChildren:
    async def test_a_child_ends_with_the_tests_however_they_end(self, tmp_path: Path) -> None:
        script = (
            "import asyncio, os, signal\n"
            "from tests.support.servers.redis import RedisServer\n"
            "server = RedisServer()\n"
            "asyncio.run(server.start())\n"
            "print(server.port, server.pid, flush=True)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        env = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", script], cwd=ROOT, env=env, capture_output=True, check=False
        )
        assert done.returncode == -9
        port, pid = map(int, done.stdout.split())

        async def refused() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                return True
            except ConnectionResetError:  # in the moment of its end
                return False
            writer.close()
            return False

        try:
            await until(refused, "the orphan to end")
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise

    def test_what_is_not_installed_is_named_with_what_to_do(self) -> None:
        with pytest.raises(RuntimeError, match=r"^no-such-server is not installed; run: scripts/setup \(or: apt-get"):
            program("some-package", "no-such-server", "nor-this")

    def test_no_port_is_given_twice(self) -> None:
        ports = [free_port() for _ in range(200)]
        assert len(set(ports)) == 200

    async def test_stop_returns_the_exit_status_and_kill_the_signal(self, tmp_path: Path) -> None:
        child = Child("a sleeper", ["sleep", "60"], tmp_path)
        child.spawn()
        assert await child.stop() == -15
        child.spawn()
        child.kill()
        assert child.returncode == -9

    async def test_waiting_names_what_did_not_come(self) -> None:
        with pytest.raises(TimeoutError, match=r"still waiting after 0.05 s for the moon"):
            await until(lambda: False, "the moon", timeout=0.05)
