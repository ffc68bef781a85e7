"""What several proxies jointly know about their events: records on one key of a real Redis, with ages passed in."""

from collections.abc import AsyncIterator

import pytest

from proxy.errors import RedisUnavailableError
from proxy.store.event_record import EventRecord, Verdict
from proxy.store.redis_store import RedisStore
from tests.support.redis_parts import KEYS, storing
from tests.support.servers.redis import RedisServer
from tests.support.servers.redis_sets import RedisCluster
from tests.support.servers.waiting import until

TAG = "user/1"
Missing = tuple[tuple[float, float], ...]


def _written(*ago: float) -> Missing:
    """Writes that ended so many seconds ago and took a tenth of a second each."""
    return tuple((each + 0.1, each) for each in ago)


async def _told(
    record: EventRecord, missing: Missing = (), *, heard: float | None = None, listened: float | None = 10.0
) -> Verdict:
    return await record.exchange(heard_ago=heard, missing=missing, enough=3, over=10.0, listened=listened)


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
    # Events that were missing before no longer count.
    assert not (await _told(one, _written(2, 2))).silent


async def test_a_write_that_began_before_an_event_waits_for_none(records: tuple[EventRecord, EventRecord]) -> None:
    """An event may arrive before its write is answered, at another proxy, and nothing follows it."""
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


@pytest.mark.parametrize("listened", [None, 31.0])
async def test_who_has_not_listened_for_long_enough_begins_no_silence_but_knows_of_one(
    records: tuple[EventRecord, EventRecord], listened: float | None
) -> None:
    one, other = records
    assert await _told(one, _written(30, 20, 12), listened=listened) == Verdict(False, None, overdue=True)
    assert await _told(other, listened=29.0) == Verdict(True, None)
    assert await _told(one, listened=listened) == Verdict(True, None)


@pytest.mark.parametrize("listened", [None, 10.0])
async def test_whoever_ends_what_was_overdue_is_told_so(
    records: tuple[EventRecord, EventRecord], listened: float | None
) -> None:
    one, other = records
    assert not (await _told(other, heard=40.0)).ended
    assert not (await _told(one, _written(30, 20, 12), listened=listened)).ended
    assert (await _told(other, heard=0.0)).ended
    assert not (await _told(other, heard=0.0)).ended
    assert not (await _told(one)).overdue


class TestInPart:
    """Some of the last writes had no event of their own, or some of the last events could not be read."""

    @staticmethod
    async def _judged(record: EventRecord, outcomes: str, readable: str = "") -> bool:
        rules = {"heard_ago": 1.0, "missing": (), "listened": 10.0, "enough": 3, "over": 10.0}
        lists = {"outcomes": [each == "1" for each in outcomes], "readable": [each == "1" for each in readable]}
        return (await record.exchange(**rules, **lists)).in_part  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("outcomes", "silent"),
        [("", False), ("00", False), ("000", True), ("0111101111111110", False), ("01111011110", True)],
    )
    async def test_three_of_the_last_fifteen(
        self, records: tuple[EventRecord, EventRecord], outcomes: str, silent: bool
    ) -> None:
        one, other = records
        for each in outcomes:
            await self._judged(one if each == "0" else other, each)
        assert await self._judged(other, "") is silent

    async def test_events_count_by_themselves(self, records: tuple[EventRecord, EventRecord]) -> None:
        one, _ = records
        assert not await self._judged(one, "0", "0101")
        assert await self._judged(one, "", "0")

    async def test_events_that_nobody_can_read_for_a_while_are_no_part(
        self, records: tuple[EventRecord, EventRecord]
    ) -> None:
        """Then all are unreadable, which ends with the next readable one."""
        assert not await self._judged(records[0], "", "00000")
        assert not await self._judged(records[1], "", "000001")

    async def test_no_event_ends_it_but_thirty_good_ones_in_a_row(
        self, records: tuple[EventRecord, EventRecord]
    ) -> None:
        one, other = records
        assert await self._judged(one, "000")
        assert (await _told(other, heard=0.0)).in_part
        assert await self._judged(other, "1" * 29 + "0")
        assert await self._judged(other, "1" * 29)
        assert not await self._judged(one, "1")
        assert not await self._judged(other, "00")  # earlier outcomes no longer count

    async def test_an_hour_without_a_bad_one_ends_it(self) -> None:
        async with RedisServer(own_clock=True) as server, storing(server.addr) as store:
            record = EventRecord(store.topology, "media")
            assert await self._judged(record, "000")
            server.set_clock(3000)
            assert await self._judged(record, "1")
            server.set_clock(3601)
            assert not await self._judged(record, "1")
            server.set_clock(3700)
            assert not await self._judged(record, "00")
            server.set_clock(7400)
            assert not await self._judged(record, "0")  # the other two are too old


class TestNotes:
    """The notes in a tag's hash of events that are due after writes."""

    @staticmethod
    async def _written(store: RedisStore, intent: bytes, due_ms: int = 60_000) -> None:
        await store.invalidate(TAG, timeout=5, intent=intent, intent_ms=30_000, due_ms=due_ms)

    @pytest.fixture
    async def store(self, redis: RedisServer) -> AsyncIterator[RedisStore]:
        async with storing(redis.addr) as store:
            yield store

    @pytest.fixture
    async def record(self, store: RedisStore) -> EventRecord:
        return EventRecord(store.topology, "media", KEYS.of_tag)

    async def test_it_stands_until_an_event_names_the_tag(self, store: RedisStore, record: EventRecord) -> None:
        await self._written(store, b"a")
        assert await record.answered(TAG, b"a") is False
        await store.invalidate(TAG, timeout=5, clear=b"a")  # the second invalidation of the write itself
        await self._written(store, b"b")
        assert await record.answered(TAG, b"a") is False
        await store.invalidate(TAG, timeout=5, window_ms=100)  # an event
        await self._written(store, b"c")
        assert [await record.answered(TAG, each) for each in (b"a", b"b", b"c")] == [True, True, False]

    async def test_an_event_before_the_write_is_answered(self, store: RedisStore, record: EventRecord) -> None:
        await self._written(store, b"a")
        await store.invalidate(TAG, timeout=5, window_ms=100)
        await store.invalidate(TAG, timeout=5, clear=b"a")
        assert await record.answered(TAG, b"a") is True

    @pytest.mark.parametrize("how", ["operator", "flush", "evicted", "another version", "never noted"])
    async def test_whatever_else_removes_it_says_nothing(
        self, redis: RedisServer, store: RedisStore, record: EventRecord, how: str
    ) -> None:
        await self._written(store, b"a", 0 if how == "never noted" else 60_000)
        match how:
            case "operator":
                await store.invalidate(TAG, timeout=5)
            case "flush":
                await store.flush()
            case "evicted":
                await redis.cli("DEL", KEYS.of_tag(TAG))
            case "another version":
                await redis.cli("HDEL", KEYS.of_tag(TAG), "da")
        assert await record.answered(TAG, b"a") is None

    async def test_a_full_redis_never_says_that_it_lacks_its_event(self, own_redis: RedisServer) -> None:
        async with storing(own_redis.addr) as store:
            record = EventRecord(store.topology, "media", KEYS.of_tag)
            await self._written(store, b"a")
            await own_redis.cli("CONFIG", "SET", "maxmemory", "1")
            await store.invalidate(TAG, timeout=5, window_ms=100)
            assert await record.answered(TAG, b"a") is not False

    async def test_notes_are_few_and_end(self, redis: RedisServer, store: RedisStore, record: EventRecord) -> None:
        for number in range(20):
            await self._written(store, b"%d" % number)
        noted = [await record.answered(TAG, b"%d" % number) for number in range(20)]
        assert noted == [False] * 8 + [None] * 12
        await store.flush()
        await self._written(store, b"short", due_ms=1)
        await store.invalidate(TAG, timeout=5, clear=b"short")

        async def gone() -> bool:
            await store.invalidate(TAG, timeout=5, clear=b"short")
            return await record.answered(TAG, b"short") is None

        await until(gone, "its end")
        await self._written(store, b"next")
        assert 60_000 <= await redis.cli("PTTL", KEYS.of_tag(TAG)) <= 61_000

    async def test_without_redis_nobody_knows(self, own_redis: RedisServer) -> None:
        async with storing(own_redis.addr) as store:
            record = EventRecord(store.topology, "media", KEYS.of_tag)
            own_redis.kill()
            assert await record.answered(TAG, b"a") is None


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
        for namespace in ("a", "b", "c", "d"):  # they are on different masters
            assert (await _told(EventRecord(store.topology, namespace), _written(30, 20, 12))).silent
