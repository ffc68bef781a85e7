"""rediss:// with real servers (single, Sentinel, Cluster): what is refused, and certificates that change."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.errors import RedisUnavailableError
from proxy.policy.builtin.model import Model
from proxy.settings.setting_types import RedisAddr
from proxy.store.redis_connecting import Listeners
from proxy.store.redis_node import Budget
from proxy.store.redis_topology import topology
from proxy.tls import Leg
from tests.support.redis_parts import body_of, cached, ready, request_key, running, storing
from tests.support.servers.certificates import Authority, Issued
from tests.support.servers.children import free_port
from tests.support.servers.redis import RedisServer, tls_config
from tests.support.servers.waiting import until
from tests.support.tls_legs import leg

KEY = request_key()


@asynccontextmanager
async def secured(
    authority: Authority, shown: Issued, *config: str, clients: bool = False
) -> AsyncIterator[tuple[RedisServer, int]]:
    """A server and its TLS port; with `clients` it demands client certificates."""
    port = free_port()
    async with RedisServer(*tls_config(port, authority, shown, clients=clients), *config) as server:
        yield server, port


async def _works(addr: str, tls: Leg | None) -> None:
    async with storing(addr, tls=tls) as store:
        await cached(store, KEY)
        assert await body_of(store, KEY) == b"body"
        await store.invalidate(Model.of("user", 1), timeout=5)
        assert await body_of(store, KEY) is None


async def _refused(addr: str, tls: Leg | None, why: str) -> None:
    """Asserts that Redis counts as away, for this reason, and that a read takes no time."""
    async with storing(addr, tls=tls, up=False) as store:
        (node,) = store._topology.nodes()
        await until(lambda: why in node._link.failure, f"{why!r} as the reason")
        assert not node.usable
        budget = Budget()
        with pytest.raises(RedisUnavailableError):
            await store.read(KEY, budget)
        assert budget == Budget()


async def test_a_server_that_shows_the_right_certificate(authority: Authority) -> None:
    async with secured(authority, authority.issue("localhost", "127.0.0.1")) as (_, port):
        await _works(f"rediss://localhost:{port}", leg(authority.ca))
        await _works(f"rediss://127.0.0.1:{port}/3", leg(authority.ca))


async def test_tls_options_in_the_address_hold_where_no_setting_is_given(authority: Authority) -> None:
    async with secured(authority, authority.issue("127.0.0.1")) as (_, port):
        await _works(f"rediss://127.0.0.1:{port}?ssl_ca_certs={authority.ca}", None)
        await _refused(f"rediss://127.0.0.1:{port}", None, "certificate verify failed")


async def test_both_show_one(authority: Authority, stranger: Authority) -> None:
    async with secured(authority, authority.issue("localhost"), clients=True) as (_, port):
        addr = f"rediss://localhost:{port}"
        await _works(addr, leg(authority.ca, authority.issue()))
        await _refused(addr, leg(authority.ca), "CERTIFICATE_REQUIRED")
        await _refused(addr, leg(authority.ca, stranger.issue()), "UNKNOWN_CA")
        await _refused(addr, leg(authority.ca, authority.issue(expired=True)), "CERTIFICATE_EXPIRED")


async def test_a_certificate_of_another_ca_and_a_name_that_is_not_its_own(
    authority: Authority, stranger: Authority
) -> None:
    async with secured(authority, authority.issue("redis.test")) as (_, port):
        addr = f"rediss://127.0.0.1:{port}"
        await _works(addr, leg(authority.ca, server_name="redis.test"))
        await _refused(addr, leg(authority.ca), "IP address mismatch")
        await _refused(f"rediss://localhost:{port}", leg(authority.ca), "Hostname mismatch")
        await _refused(addr, leg(authority.ca, server_name="other.test"), "Hostname mismatch")
        await _refused(addr, leg(stranger.ca, server_name="redis.test"), "certificate verify failed")
        await _refused(addr, leg(server_name="redis.test"), "certificate verify failed")


async def test_a_certificate_that_has_expired(authority: Authority) -> None:
    async with secured(authority, authority.issue("localhost", expired=True)) as (_, port):
        await _refused(f"rediss://localhost:{port}", leg(authority.ca), "certificate has expired")


async def test_certificates_that_change_are_for_the_next_connection(authority: Authority, stranger: Authority) -> None:
    """The server changes to another CA, and then demands certificates of that CA."""
    shown, own = authority.issue("localhost"), authority.issue()
    tls = leg(authority.ca, own)
    async with secured(authority, shown, clients=True) as (server, port):
        async with storing(f"rediss://localhost:{port}", tls=tls) as store:
            (node,) = store._topology.nodes()
            await server.cli("CONFIG", "SET", *_pairs(stranger, stranger.issue("localhost")))
            await cached(store, KEY)
            assert await body_of(store, KEY) == b"body", "a connection outlives the certificates that it began with"
            await server.cli("CLIENT", "KILL", "TYPE", "normal")
            await until(lambda: "certificate verify failed" in node._link.failure)
            stranger.issue().write_to(own)
            authority.ca.write_bytes(stranger.ca.read_bytes())
            assert tls.look()
            await ready(store)
            await body_of(store, KEY)


def _pairs(authority: Authority, shown: Issued) -> list[str]:
    settings = {"tls-cert-file": shown.cert, "tls-key-file": shown.key, "tls-ca-cert-file": authority.ca}
    return [str(word) for pair in settings.items() for word in pair]


async def test_sentinel_and_master_each_ask_for_a_certificate(authority: Authority, stranger: Authority) -> None:
    shown, own = authority.issue("redis.test"), authority.issue()
    async with secured(authority, shown, "tls-replication yes", clients=True) as (_, master):
        port = free_port()
        lines = [*tls_config(port, authority, shown, clients=True), "tls-replication yes"]
        watch = [f"sentinel monitor media 127.0.0.1 {master} 1"]
        async with RedisServer(*lines, *watch, sentinel=True) as sentinel:
            await until(lambda: _found(sentinel), "the Sentinel to reach the master")
            addr = f"rediss+sentinel://127.0.0.1:{port}/media"
            await _works(addr, leg(authority.ca, own, server_name="redis.test"))
            await _refused(addr, leg(stranger.ca, own, server_name="redis.test"), "No master found for 'media'")


async def _found(sentinel: RedisServer) -> bool:
    masters = await sentinel.cli("SENTINEL", "MASTERS")
    return bool(masters) and "s_down" not in str(masters)


async def test_every_node_of_a_cluster_asks_for_a_certificate(authority: Authority, stranger: Authority) -> None:
    shown, own = authority.issue("redis.test"), authority.issue()
    config = ("cluster-enabled yes", "tls-cluster yes", f"cluster-port {free_port()}")
    async with secured(authority, shown, *config, clients=True) as (server, port):
        await server.cli("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await until(lambda: _cluster_ok(server), "the cluster to be ok")
        addr = f"rediss+cluster://127.0.0.1:{port}"
        await _works(addr, leg(authority.ca, own, server_name="redis.test"))
        await _never_whole(addr, leg(stranger.ca, own, server_name="redis.test"), "certificate verify failed")
        await _never_whole(addr, leg(authority.ca, own), "IP address mismatch")


async def _never_whole(addr: str, tls: Leg, why: str) -> None:
    told: list[str] = []
    target = RedisAddr().parse(addr)
    assert target is not None
    cluster = topology(target, (), Listeners(lambda up, reason: told.append(reason)), tls)
    async with running(cluster.run()):
        await until(lambda: any(why in each for each in told), f"{why!r} as the reason")
    assert cluster.nodes() == ()


async def _cluster_ok(server: RedisServer) -> bool:
    return "cluster_state:ok" in str(await server.cli("CLUSTER", "INFO"))
