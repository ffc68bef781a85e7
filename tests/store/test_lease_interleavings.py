"""All interleavings of the fill protocol: no answer is read or stored that is older than an invalidation (I1, I2)."""

from collections.abc import Iterator

import pytest
from redis import Redis

from proxy.store.redis_store import _SCRIPTS
from tests.support.interleavings import (
    Actor,
    EarlyWriter,
    Evictor,
    Looker,
    NaiveReader,
    NaiveWriter,
    NoCacheReader,
    OwnWriter,
    Reader,
    World,
    Writer,
    crashed,
    orders,
    run,
)
from tests.support.servers.redis import RedisServer


@pytest.fixture
def client(redis: RedisServer) -> Iterator[Redis]:
    with Redis(port=redis.port) as client:
        for source in _SCRIPTS:
            client.script_load(source)
        yield client


def _faults(worlds: list[World]) -> list[tuple[tuple[int, ...], list[str]]]:
    return [(world.order, world.faults) for world in worlds if world.faults]


def _kinds(worlds: list[World]) -> set[str]:
    """All replies to readers in all worlds: an enumeration that never grants a lease proves nothing about leases."""
    return {actor.kind for world in worlds for actor in world.actors if isinstance(actor, Reader)}


def test_the_orders_are_all_there_once() -> None:
    assert len(list(orders((4, 4, 2), alike=False))) == 3150
    assert len(set(orders((4, 4, 2), alike=True))) == 3150 / 2
    assert set(orders((1, 2), alike=False)) == {(0, 1, 1), (1, 0, 1), (1, 1, 0)}


class TestTwoReaders:
    def test_and_a_write(self, client: Redis) -> None:
        worlds = run(client, Reader, Reader, Writer)
        assert _faults(worlds) == []
        assert _kinds(worlds) == {"lease", "held", "hit"}
        assert len(worlds) == 1575

    def test_a_write_and_an_eviction(self, client: Redis) -> None:
        worlds = run(client, Reader, Reader, Writer, Evictor)
        assert _faults(worlds) == []
        assert len(worlds) == 17325

    def test_one_of_whom_takes_no_cached_answer(self, client: Redis) -> None:
        assert _faults(run(client, Reader, NoCacheReader, Writer)) == []
        assert _faults(run(client, NoCacheReader, NoCacheReader, Writer)) == []

    def test_and_an_event_that_was_published_before_its_commit(self, client: Redis) -> None:
        worlds = run(client, Reader, Reader, EarlyWriter)
        assert _faults(worlds) == []
        assert "closed" in _kinds(worlds)

    @pytest.mark.parametrize("steps", [1, 2, 3])
    def test_and_an_own_write_that_crashes_after_each_of_its_steps(self, client: Redis, steps: int) -> None:
        worlds = run(client, Reader, Reader, crashed(OwnWriter, steps))
        assert _faults(worlds) == []
        assert _kinds(worlds) == {"lease", "held", "hit", "closed"}


def test_two_own_writes_that_overlap(client: Redis) -> None:
    worlds = run(client, Reader, OwnWriter, OwnWriter)
    assert _faults(worlds) == []
    assert len(worlds) == 4200


def test_an_own_write_that_crashed_beside_one_that_did_not(client: Redis) -> None:
    assert _faults(run(client, Reader, OwnWriter, crashed(OwnWriter, 2))) == []


class TestTheCheckerItself:
    """It detects what goes wrong without the protocol, and without each part of it."""

    @pytest.mark.parametrize(
        "kinds",
        [
            (NaiveReader, NaiveReader, NaiveWriter),
            (NaiveReader, NaiveReader, Writer),  # an invalidation alone
            (Reader, Reader, crashed(Writer, 1)),  # nobody tells
            (Reader, Reader, type("NoWindow", (EarlyWriter,), {"window": b"0"})),
            (Reader, Reader, type("NoIntent", (Writer,), {"steps": ("invalidate", "commit")})),  # then a crash
        ],
    )
    def test_finds_what_is_stale(self, client: Redis, kinds: tuple[type[Actor], ...]) -> None:
        faults = _faults(run(client, *kinds))
        assert len(faults) > 10
        assert any("is stored" in fault for _, found in faults for fault in found)

    def test_finds_readers_that_were_answered_too_old(self, client: Redis) -> None:
        faults = _faults(run(client, NaiveReader, Looker, NaiveWriter))
        assert any("was answered" in fault for _, found in faults for fault in found)
