"""What proxies know together of their events, in a real Redis: several records on one key, ages given, no waiting."""

from collections.abc import AsyncIterator

import pytest

from proxy.errors import RedisUnavailableError
from proxy.store.event_record import EventRecord, Verdict
from tests.support.redis_parts import storing
from tests.support.servers.redis import RedisServer
from tests.support.servers.redis_sets import RedisCluster

Missing = tuple[tuple[float, float], ...]


def _written(*ago: float) -> Missing:
    """Writes that ended so many seconds ago, each within a tenth of one."""
    return tuple((each + 0.1, each) for each in ago)


async def _told(
    record: EventRecord, missing: Missing = (), *, heard: float | None = None, judge: bool = True
) -> Verdict:
    return await record.exchange(heard_ago=heard, missing=missing, judge=judge, enough=3, over=10.0)


@pytest.fixture
async def records(redis: RedisServer) -> AsyncIterator[tuple[EventRecord, EventRecord]]:
    async with storing(redis.addr) as one, storing(redis.addr) as other:
        yield EventRecord(one.topology, "media"), EventRecord(other.topology, "media")


async def test_nothing_is_known_at_first(records: tuple[EventRecord, EventRecord]) -> None:
    assert await _told(records[0]) == Verdict(silent=False, heard_ago=None)


async def test_writes_through_several_proxies_count_together(records: tuple[EventRecord, EventRecord]) -> None:
    one, other = records
    assert not (await _told(one, _written(12, 5))).silent
    assert (await _told(other, _written(3))).silent
    assert (await _told(one)).silent


@pytest.mark.parametrize(
    ("writes", "silent"),
    [
        (_written(12, 5), False),  # too few
        (_written(9, 8, 7), False),  # not for long enough
        (_written(12, 11, 2), True),
        (((40.0, 2.0), (40.0, 2.0), (40.0, 2.0)), False),  # long uploads that have only just ended
    ],
)
async def test_it_takes_three_of_which_the_first_ended_ten_seconds_ago(
    records: tuple[EventRecord, EventRecord], writes: Missing, silent: bool
) -> None:
    assert (await _told(records[0], writes)).silent is silent


async def test_an_event_anywhere_ends_it_for_all(records: tuple[EventRecord, EventRecord]) -> None:
    one, other = records
    assert (await _told(one, _written(30, 20, 12))).silent
    ended = await _told(other, heard=0.5)
    assert not ended.silent
    assert not (await _told(one)).silent
    assert ended.heard_ago == pytest.approx(0.5, abs=0.1)
    # Nor does what was missing before it count on.
    assert not (await _told(one, _written(2, 2))).silent


async def test_a_write_that_began_before_an_event_waits_for_none(records: tuple[EventRecord, EventRecord]) -> None:
    """Events may come before the answer to their write, to another proxy, and nothing after them."""
    one, other = records
    await _told(other, heard=10.0)
    assert not (await _told(one, ((10.05, 10.0), (10.04, 10.0), (10.03, 10.0)))).silent


async def test_the_event_of_one_of_several_writes_speaks_for_those_before_it(
    records: tuple[EventRecord, EventRecord],
) -> None:
    one, other = records
    await _told(one, _written(30, 25))
    await _told(other, heard=20.0)
    assert not (await _told(one, _written(15))).silent
    assert (await _told(one, _written(14, 13))).silent


async def test_who_may_not_judge_begins_no_silence_but_knows_of_one(
    records: tuple[EventRecord, EventRecord],
) -> None:
    one, other = records
    assert not (await _told(one, _written(30, 20, 12), judge=False)).silent
    assert (await _told(other)).silent
    assert (await _told(one, judge=False)).silent


async def test_one_redis_has_one_id_which_outlives_its_data(
    redis: RedisServer, records: tuple[EventRecord, EventRecord]
) -> None:
    one, other = records
    assert one.id == ""
    await _told(one)
    await _told(other)
    first = one.id
    assert first == other.id != ""
    await redis.cli("FLUSHALL")
    await _told(other)
    assert other.id == first


async def test_namespaces_know_nothing_of_each_other(redis: RedisServer) -> None:
    async with storing(redis.addr) as store:
        one, other = EventRecord(store.topology, "media"), EventRecord(store.topology, "other")
        assert (await _told(one, _written(30, 20, 12))).silent
        assert not (await _told(other)).silent
        assert one.id != other.id


async def test_it_does_without_its_script_and_survives_foreign_bytes(
    redis: RedisServer, records: tuple[EventRecord, EventRecord]
) -> None:
    await _told(records[0])
    await redis.cli("SCRIPT", "FLUSH")
    assert not (await _told(records[0])).silent
    await redis.cli("SET", "media:events", "something else")
    with pytest.raises(RedisUnavailableError):
        await _told(records[0])


async def test_without_redis_it_says_so(own_redis: RedisServer) -> None:
    async with storing(own_redis.addr) as store:
        record = EventRecord(store.topology, "media")
        own_redis.kill()
        with pytest.raises(RedisUnavailableError):
            await _told(record)


async def test_it_works_on_a_cluster() -> None:
    async with RedisCluster() as cluster, storing(cluster.addr) as store:
        for namespace in ("a", "b", "c", "d"):  # on several of its masters
            assert (await _told(EventRecord(store.topology, namespace), _written(30, 20, 12))).silent
