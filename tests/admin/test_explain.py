"""Why a call would be a hit, a miss or a bypass: the words, and that the call itself then does what they say."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio

from proxy.admin.explain import Explainer, Explanation, Upstream
from proxy.admin.requests import Asked, asked
from tests.support.in_process import USER, Process, Stack, read_call
from tests.support.media_methods import MediaKeys
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

CONNECTED = Upstream()
KEY = MediaKeys("media", ()).of_tag(USER).decode()


@pytest_asyncio.fixture
async def stack(redis: RedisServer) -> AsyncIterator[Stack]:
    async with Stack(redis.addr) as stack:
        yield stack


async def explained(process: Process, upstream: Upstream = CONNECTED, **call: Any) -> Explanation:
    """Of the call that `Process.read` makes."""
    core = process.core
    explainer = Explainer(
        core.store,
        core.keys,
        core.cache.policy,
        core.invalidations,
        core.recent,
        lambda: "" if core.redis is None else core.redis.state.reason,
        lambda _: upstream,
        core.policy.reads,
    )
    given = {"model_type": "User", "model_id": 1, "collection": "avatars", "page": 1, "per_page": 10, **call}
    return await explainer.explain(asked(given, core.policy.reads))


async def stored(process: Process, redis: RedisServer) -> tuple[bytes, bytes]:
    """The one field of the model's hash."""
    assert (await explained(process)).result == "hit"  # on the connection of the fill, so behind it
    ((name, value),) = (await redis.cli("HGETALL", KEY)).items()
    return name, value


async def test_nothing_stored_is_a_miss_and_a_stored_answer_a_hit(stack: Stack) -> None:
    process = await stack.process()
    before = await explained(process)
    assert before.result == await process.x_cache() == "miss"
    assert before.why[0] == "Nothing is stored for this request."
    assert "Nothing is stored for this model." in before.why
    assert "fetch it and store" in before.why[1]
    after = await explained(process)
    assert after.result == await process.x_cache() == "hit"
    assert "fresh for" in after.why[0]


async def test_it_names_what_keeps_an_answer_from_being_stored(stack: Stack) -> None:
    """Such a call is a miss each time: that the next answer will be stored is more than anybody knows."""
    process = await stack.process()
    process.core.cache.policy.max_entry_bytes = 1
    assert [await process.x_cache() for _ in range(2)] == ["miss", "miss"]
    assert any("unless it fails, is larger than CACHE_MAX_ENTRY_BYTES" in why for why in (await explained(process)).why)


async def test_it_names_where_the_answer_is_stored(stack: Stack) -> None:
    process = await stack.process()
    await process.read()
    told = await explained(process)
    key = MediaKeys("media", ("authorization",)).of_request(read_call().body, ())
    assert key is not None
    assert (told.key, told.field) == (KEY, key.field.hex())


async def test_asking_changes_nothing(stack: Stack, redis: RedisServer) -> None:
    process = await stack.process()
    for _ in range(3):
        assert (await explained(process)).result == "miss"
    assert stack.fetches == 0
    assert await redis.cli("KEYS", "*") == []


@pytest.mark.parametrize(
    ("call", "part"),
    [
        ({"per_page": 20}, "per_page 10"),
        ({"page": 2}, "page 1"),
        ({"collection": "avatar"}, "collection 'avatars'"),
        ({"model_type": "user"}, "User"),
        ({"metadata": "authorization: Bearer x"}, "page 1"),
    ],
)
async def test_what_is_stored_for_other_requests_is_named(stack: Stack, call: dict[str, Any], part: str) -> None:
    process = await stack.process()
    await process.read()
    told = await explained(process, **call)
    assert told.result == "miss"
    (others,) = [sentence for sentence in told.why if sentence.startswith("Stored for this model: ")]
    assert part in others


async def test_another_callers_entry_is_named_as_such(stack: Stack) -> None:
    process = await stack.process()
    pair = (("authorization", "Bearer hidden"),)
    await process.read(metadata=pair)
    told = await explained(process)
    assert "of a caller with vary-metadata" in " ".join(told.why)
    assert "hidden" not in " ".join(told.why)
    assert (await explained(process, metadata="authorization: Bearer hidden")).result == "hit"
    assert await process.x_cache(metadata=pair) == "hit"


@pytest.mark.parametrize(
    ("settings", "call", "words"),
    [
        ({"cache_mode": "off"}, {}, "mode is off"),
        ({"cache_ttl": 0.0}, {}, "CACHE_TTL is 0"),
        ({}, {"metadata": "cache-control: no-store"}, "no-store"),
        ({}, {"per_page": 100}, "per_page is 100"),
        ({"cache_bypass_per_page": 20}, {"per_page": 0}, "per_page is not set, which means 20"),
        ({}, {"model_type": "Stra\u00dfe"}, "The service may fold the case of its type"),
    ],
)
async def test_a_bypass_says_which_rule_it_is(
    stack: Stack, settings: dict[str, Any], call: dict[str, Any], words: str
) -> None:
    process = await stack.process(**settings)
    told = await explained(process, **call)
    assert told.result == "bypass"
    assert words in told.why[0]
    metadata = tuple(tuple(call["metadata"].split(": ")) for _ in range(1) if "metadata" in call)
    asked = {"per_page": 10, **{name: value for name, value in call.items() if name != "metadata"}}
    assert await process.x_cache(**asked, metadata=metadata) == "bypass"


async def test_no_cache_is_a_miss_of_its_own(stack: Stack) -> None:
    process = await stack.process()
    await process.read()
    told = await explained(process, metadata="cache-control: no-cache")
    assert told.result == await process.x_cache(metadata=(("cache-control", "no-cache"),)) == "miss"
    assert "no-cache" in told.why[0]


async def test_shadow_says_what_it_would_be_if_on(stack: Stack) -> None:
    process = await stack.process(cache_mode="shadow")
    assert (await explained(process)).why[0].endswith("In mode on the result would be miss:")
    await process.read()
    told = await explained(process)
    assert told.result == await process.x_cache() == "bypass"
    assert told.why[0].endswith("In mode on the result would be hit:")


async def test_without_redis_it_says_so(stack: Stack) -> None:
    process = await stack.process(redis_addr="")
    told = await explained(process)
    assert told.result == await process.x_cache() == "miss"
    assert "REDIS_ADDR is empty" in told.why[0]


async def test_redis_away_is_named_with_why(own_redis: RedisServer) -> None:
    async with Stack(own_redis.addr, hurried=True) as stack:
        process = await stack.process()
        own_redis.kill()
        await until(lambda: not process.usable(), "Redis to be missed")
        told = await explained(process)
        assert told.result == await process.x_cache() == "miss"
        assert told.why[0].startswith("Redis cannot be used now: ")
        assert len(told.why[0]) > len("Redis cannot be used now: .")


async def test_a_held_invalidation_is_named(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    process = await stack.process()
    await process.read()
    monkeypatch.setattr(process.core.invalidations, "held_back", lambda model, dependent: model == USER)
    told = await explained(process)
    assert told.result == "miss"
    assert "is waiting for Redis" in told.why[0]
    assert (await explained(process, model_id=2)).why[0] == "Nothing is stored for this request."


async def test_an_invalidation_is_named_with_when_and_by_what(stack: Stack) -> None:
    process = await stack.process(cache_event_window=30.0)  # a busy machine takes more than 100 ms
    await process.read()
    await process.event()
    told = await explained(process)
    assert told.result == "miss"
    assert any(sentence.startswith("An event has just invalidated it") for sentence in told.why)
    assert any(sentence.endswith("by an event.") for sentence in told.why)
    await process.core.invalidations.flush("asked for")
    assert any("by a flush (asked for" in sentence for sentence in (await explained(process)).why)


async def test_a_fetch_under_way_is_waited_for(stack: Stack) -> None:
    process = await stack.process()
    gate = stack.media.hold("GetFilesByModel")
    leading = process.reading()
    await gate.reached()
    told = await explained(process)
    assert told.result == "coalesced"
    assert "Another call has been fetching it" in told.why[1]
    following = process.reading()
    await process.all_waiting(2)
    gate.open()
    assert (await leading).x_cache == "miss"
    assert (await following).x_cache == "coalesced"


async def test_a_write_under_way_is_named(stack: Stack, redis: RedisServer) -> None:
    process = await stack.process()
    now = int((await redis.cli("TIME"))[0])
    await redis.cli("HSET", KEY, "wtoken", str((now + 30) * 1000))
    told = await explained(process)
    assert told.result == await process.x_cache() == "miss"
    assert "A write to this model is in progress" in told.why[1]


async def test_an_entry_from_before_redis_restarted_is_named(stack: Stack, redis: RedisServer) -> None:
    process = await stack.process()
    await process.read()
    (name, value) = await stored(process, redis)
    words = value.split(b" ", 2)
    await redis.cli("HSET", KEY, name, b" ".join((words[0], b"f" * 40, words[2])))
    told = await explained(process)
    assert told.result == await process.x_cache() == "miss"
    assert "before this Redis started" in told.why[0]


@pytest.mark.parametrize(
    ("upstream", "words"),
    [
        (
            Upstream(connected=False, reason="refused"),
            "The media service is away (refused): the call fails with UNAVAIL",
        ),
        (
            Upstream(reason="it answers with failures, the last one INTERNAL"),
            "the last one INTERNAL: this call may fail",
        ),
    ],
)
@pytest.mark.parametrize(
    "call",
    [{}, {"per_page": 100}, {"metadata": "cache-control: no-cache"}],
    ids=["nothing stored", "bypass", "no-cache"],
)
async def test_what_needs_a_media_service_in_trouble_is_told_so(
    stack: Stack, upstream: Upstream, words: str, call: dict[str, Any]
) -> None:
    process = await stack.process()
    assert words in (await explained(process, upstream, **call)).why[-1]
    assert not [why for why in (await explained(process, **call)).why if why.startswith("The media service")]


async def test_damaged_bytes_are_named(stack: Stack, redis: RedisServer) -> None:
    process = await stack.process()
    stack.media.add("User", 1)
    await process.read()
    (name, value) = await stored(process, redis)
    await redis.cli("HSET", KEY, name, value[:-1] + b"?")
    told = await explained(process)
    assert told.result == "miss"
    assert "damaged" in told.why[0]


async def test_what_has_run_out_may_stand_in_and_is_named(stack: Stack, redis: RedisServer) -> None:
    process = await stack.process()
    await process.read()
    (name, value) = await stored(process, redis)
    words = value.split(b" ", 5)
    words[3] = words[2]
    await redis.cli("HSET", KEY, name, b" ".join(words))
    told = await explained(process)
    assert told.result == "miss"
    assert "expired" in told.why[0]
    assert "the stored answer would be served" in told.why[-1]
    stack.media.fail("GetFilesByModel", grpc.StatusCode.UNAVAILABLE)
    for away in (Upstream(connected=False, reason="refused"), Upstream(away=True, reason="it answers with failures")):
        told = await explained(process, away)
        assert told.result == await process.x_cache() == "stale"
        assert told.why[0].startswith("The media service is ")
        assert "is served instead" in told.why[0]
    stack.media.heal()
    process.core.cache.policy.stale_while_revalidate = 600.0
    told = await explained(process)
    assert told.result == await process.x_cache() == "stale"


async def test_a_key_that_is_no_hash_is_named(stack: Stack, redis: RedisServer) -> None:
    process = await stack.process()
    await redis.cli("SET", KEY, "text")
    told = await explained(process)
    assert told.result == "miss"


async def test_a_request_too_large_to_be_cached_is_a_bypass(stack: Stack) -> None:
    core = (await stack.process()).core
    explainer = Explainer(
        core.store, core.keys, core.cache.policy, core.invalidations, core.recent, str, Upstream, core.policy.reads
    )
    told = await explainer.explain(Asked(read_call("User", 1, "c" * 5000)))
    assert told.result == "bypass"
    assert "too large" in told.why[0]
