"""What a real Redis holds for a model: the listing is complete, and contains no byte of an answer."""

import json
from collections.abc import AsyncIterator
from dataclasses import asdict

import pytest
import pytest_asyncio
from redis.crc import key_slot

from proxy.errors import RedisUnavailableError
from proxy.policy.builtin.model import Model
from proxy.store.redis_cluster import Cluster
from proxy.store.redis_listing import Listing, listing
from tests.support.in_process import USER, Process, Stack
from tests.support.media_methods import POLICY, MediaKeys
from tests.support.servers.redis import RedisServer
from tests.support.servers.redis_sets import RedisCluster
from tests.support.servers.waiting import until

KEY = MediaKeys("media", ()).of_tag(USER).decode()


async def listed(process: Process, model: Model = USER) -> Listing:
    assert process.core.store is not None
    return await listing(process.core.store.topology, process.core.keys.of_tag(model), process.core.gap, POLICY.reads)


@pytest_asyncio.fixture
async def stack(redis: RedisServer) -> AsyncIterator[Stack]:
    async with Stack(redis.addr) as stack:
        yield stack


async def test_a_model_of_which_nothing_is_stored_is_empty(stack: Stack) -> None:
    found = await listed(await stack.process(), Model.of("nobody", -(2**63)))
    assert (found.fields, found.ttl, found.entries, found.leases, found.problem) == (0, None, [], [], "")


async def test_each_entry_says_which_request_it_answers_and_how_long(stack: Stack) -> None:
    process = await stack.process(cache_ttl=3600.0)
    stack.media.add("User", 1)
    await process.read("User", 1, "avatars", page=1, per_page=10)
    await process.read("user", 1, "", page=2, per_page=20, metadata=(("authorization", "Bearer hidden"),))
    whole, one = (await listed(process)).entries
    assert (whole.model_type, whole.collection, whole.page, whole.per_page, whole.by_caller) == (
        "user",
        "",
        2,
        20,
        True,
    )
    assert (one.model_type, one.collection, one.page, one.per_page, one.by_caller) == ("User", "avatars", 1, 10, False)
    assert (one.state, one.this_run) == ("fresh", True)
    assert one.age is not None
    assert one.ttl is not None
    assert one.stale_ttl is not None
    assert 0 <= one.age < 60
    assert 3300 < one.ttl <= 3600
    assert one.stale_ttl == pytest.approx(one.ttl + 600, abs=0.01)
    assert one.bytes is not None
    assert one.bytes > 200


async def test_it_tells_no_body_and_no_credential(stack: Stack) -> None:
    process = await stack.process()
    media = stack.media.add("User", 1)
    await process.read(metadata=(("authorization", "Bearer hidden"),))
    told = json.dumps(asdict(await listed(process)))
    for secret in (media.file_name, media.uuid, "X-Amz", "hidden", "https"):
        assert secret not in told


async def test_leases_and_marks_are_told(stack: Stack) -> None:
    process = await stack.process()
    gate = stack.media.hold("GetFilesByModel")
    reading = process.reading()
    await gate.reached()
    (lease,) = (await listed(process)).leases
    assert lease.this_run
    assert 0 < lease.ttl <= 10
    gate.open()
    await reading
    await process.event()
    found = await listed(process)
    assert (found.marked, found.entries, found.leases) == (True, [], [])
    assert 0 <= found.closed_for <= 0.1


async def test_a_write_under_way_is_told(stack: Stack, redis: RedisServer) -> None:
    process = await stack.process()
    now = await seconds_of(redis)
    await redis.cli("HSET", KEY, "wtoken", str((now + 30) * 1000), "wover", str((now - 1) * 1000))
    (left,) = (await listed(process)).writes
    assert 20 < left <= 31


async def seconds_of(redis: RedisServer) -> int:
    """Redis' clock."""
    return int((await redis.cli("TIME"))[0])


async def rewrite(process: Process, redis: RedisServer, at: int, *words: bytes) -> None:
    """Replaces words in the header of the one stored answer."""
    assert len((await listed(process)).entries) == 1  # on the same connection as the fill, so after it
    ((name, value),) = (await redis.cli("HGETALL", KEY)).items()
    found = value.split(b" ", 5)
    found[at : at + len(words)] = words
    await redis.cli("HSET", KEY, name, b" ".join(found))


async def test_entries_of_another_redis_process_are_told_apart(stack: Stack, redis: RedisServer) -> None:
    process = await stack.process()
    await process.read()
    await rewrite(process, redis, 1, b"f" * 40)
    (entry,) = (await listed(process)).entries
    assert (entry.state, entry.this_run) == ("other run", False)


@pytest.mark.parametrize(("fresh", "stale", "state"), [(-1, 60, "stale"), (-60, -1, "expired"), (60, 120, "fresh")])
async def test_what_has_run_out_is_told_apart(
    stack: Stack, redis: RedisServer, fresh: int, stale: int, state: str
) -> None:
    process = await stack.process()
    await process.read()
    now = await seconds_of(redis)
    await rewrite(process, redis, 3, b"%d" % ((now + fresh) * 1000), b"%d" % ((now + stale) * 1000))
    (entry,) = (await listed(process)).entries
    assert entry.state == state


@pytest.mark.parametrize(
    "value",
    [b"", b"x", b"2 a b c d e f\n", b"1 a\n", b"1 run 1 2 3 4 5", b"\xff" * 5000, b"1 r " + b"9" * 999 + b" 1 1 1 1\n"],
)
async def test_foreign_bytes_are_told_as_such(stack: Stack, redis: RedisServer, value: bytes) -> None:
    process = await stack.process()
    await redis.cli("HSET", KEY, "e" + "x" * 16, value)
    await redis.cli("HSET", KEY, "l" + "x" * 16, value)
    await redis.cli("HSET", KEY, "m", value)
    await redis.cli("HSET", KEY, "wx", value)
    await redis.cli("HSET", KEY, "", value)
    (entry,) = (await listed(process)).entries
    assert entry.state in {"unreadable", "other run"}
    assert entry.bytes == len(value)


async def test_an_identity_longer_than_what_is_read_leaves_its_names_out(stack: Stack) -> None:
    process = await stack.process()
    await process.read("User", 1, "c" * 2000)
    (entry,) = (await listed(process)).entries
    assert (entry.state, entry.method, entry.collection) == ("fresh", "media.MediaService/GetFilesByModel", None)


async def test_a_key_that_is_no_hash_is_a_problem_in_words(stack: Stack, redis: RedisServer) -> None:
    process = await stack.process()
    await redis.cli("SET", KEY, "text")
    found = await listed(process)
    assert "the key is not a hash" in found.problem
    assert found.entries == []


async def test_a_huge_hash_is_counted_and_not_listed(stack: Stack, redis: RedisServer) -> None:
    process = await stack.process()
    await redis.cli("HSET", KEY, *[word for number in range(2000) for word in (f"e{number:016}", "x")])
    found = await listed(process)
    assert (found.fields, found.entries) == (2000, [])
    assert "2000 fields" in found.problem


async def test_beyond_some_mebibytes_entries_are_named_but_not_looked_into(stack: Stack, redis: RedisServer) -> None:
    process = await stack.process()
    for number in range(8):
        await redis.cli("HSET", KEY, f"e{number:016}", "x" * (1 << 20))
    states = [entry.state for entry in (await listed(process)).entries]
    assert (states.count("unreadable"), states.count("unread")) == (4, 4)


async def test_redis_away_is_an_error_that_says_so(own_redis: RedisServer) -> None:
    async with Stack(own_redis.addr, hurried=True) as stack:
        process = await stack.process()
        own_redis.kill()
        await until(lambda: not process.usable(), "Redis to be missed")
        with pytest.raises(RedisUnavailableError):
            await listed(process)


async def test_in_a_cluster_the_owner_is_asked_also_when_it_was_another() -> None:
    async with RedisCluster() as cluster, Stack(cluster.addr) as stack:
        process = await stack.process()
        assert process.core.store is not None
        topology = process.core.store.topology
        assert isinstance(topology, Cluster)
        await until(lambda: all(node.usable for node in topology.nodes()), "every master to be connected")
        for number in range(1, 8):
            model = Model.of("user", number)
            await process.read("User", model.id)
            assert len((await listed(process, model)).entries) == 1
        slot = key_slot(KEY.encode())
        right = topology._owners[slot]
        topology._owners[slot] = next(name for name in topology._nodes if name != right)
        assert len((await listed(process)).entries) == 1
        assert topology._owners[slot] == right
