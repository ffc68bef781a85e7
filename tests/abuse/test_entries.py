"""Abuse of stored entries: tampered with and swapped in Redis, and keys that were made to be confused."""

import asyncio
from itertools import product

from proxy.calls.keys import RequestKey
from tests.abuse.attack import WIDEST, attacker, fields
from tests.abuse.caller import request
from tests.abuse.scene import Scene
from tests.abuse.upstream import named
from tests.support.calling import Gateway
from tests.support.media_methods import MediaKeys
from tests.support.raw_http2 import END_STREAM, headers, message
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

FILES = "/media.MediaService/GetFilesByModel"
A, B = ("authorization", "A"), ("authorization", "B")


def key_of(model_id: int, *metadata: tuple[str, str]) -> RequestKey:
    key = MediaKeys("media", ("authorization",)).of_request(request(model_id), metadata)
    assert key is not None
    return key


async def read(gateway: Gateway, model_id: int, *metadata: tuple[str, str]) -> str:
    """Makes a read and asserts that its answer is right; returns where it came from."""
    got = await gateway.read(model_id=model_id, metadata=metadata)
    assert got.uuids == [named("User", model_id, "avatars", dict(metadata).get("authorization", ""))]
    return got.x_cache


def tampered(value: bytes) -> list[bytes]:
    """An entry truncated, with a flipped bit in each of its parts, extended, and replaced by something else."""
    flipped = [value[:at] + bytes([value[at] ^ 4]) + value[at + 1 :] for at in range(0, len(value), 7)]
    cut = [value[:-1], value[: len(value) // 2], value[:20], b"1", b""]
    grown = [value + b"x", value + bytes(2 << 20), bytes(20 << 20), value.replace(b" ", b" " + b"9" * 400, 3)]
    return [*flipped, *cut, *grown, b"\xff" * 100, b"1 " * 1000]


async def test_entries_tampered_with_and_swapped(redis: RedisServer) -> None:
    """The defences are the identity and the checksum in each entry."""
    async with Scene(redis.addr) as scene, scene.abused() as figures:
        async with redis.client() as client, Gateway(scene.proxy.addr) as gateway:

            async def stored(model_id: int, *metadata: tuple[str, str]) -> tuple[RequestKey, bytes]:
                async def hit() -> bool:  # under load the breaker may keep a miss from being stored
                    return await read(gateway, model_id, *metadata) == "hit"

                await until(hit, "a stored answer")
                key = key_of(model_id, *metadata)
                value = await client.hget(key.hash_key, b"e" + key.field)
                assert isinstance(value, bytes)
                return key, value

            mine, value = await stored(1)
            for bad in tampered(value):
                await client.hset(mine.hash_key, mapping={b"e" + mine.field: bad})
                await read(gateway, 1)
            for model_id, other in ((2, (2, B)), (2, (3, A)), (3, (1,)), (3, (3,))):
                _, others = await stored(*other)
                key, _ = await stored(model_id, A)
                await client.hset(key.hash_key, mapping={b"e" + key.field: others})
                assert await read(gateway, model_id, A) == "miss"
            await client.delete(mine.hash_key)
            await client.set(mine.hash_key, b"not a hash")
            await read(gateway, 1)
    figures.check(most_mib=300)


async def test_keys_made_to_be_taken_for_one_another(redis: RedisServer) -> None:
    """The defences are the length before each part of a key, and the identity in the entry."""
    types, collections = ["a", "a:b", "1:a", "a1", "1:a1:1", "A"], ["", "b", ":b", "1:b", "1:1", "b:1:a"]
    callers = ["", "x", "authorization", "1:x"]
    asked = list(product(types, [1, 11], collections, callers))
    async with Scene(redis.addr) as scene, scene.abused() as figures, Gateway(scene.proxy.addr) as gateway:

        async def ask(model_type: str, model_id: int, collection: str, caller: str) -> None:
            metadata = (("authorization", caller),) if caller else ()
            got = await gateway.read(model_type, model_id, collection, metadata=metadata)
            assert got.uuids == [named(model_type, model_id, collection, caller)]

        for _ in range(2):  # the second time from the cache
            for at in range(0, len(asked), 24):
                await asyncio.gather(*(ask(*each) for each in asked[at : at + 24]))
    figures.check(most_mib=180)


async def test_requests_that_are_all_different(redis: RedisServer) -> None:
    """The defences are the bounds of what is remembered of requests, and Redis' expiry. Nobody can make keys that
    collide in a dict, because Python's hash of bytes is keyed with a secret of the process."""
    async with Scene(redis.addr) as scene, scene.abused() as figures, attacker(scene.port) as attacking:
        await attacking.send(WIDEST)
        for number in range(2000):
            stream, token = 2 * number + 1, b"%0200d" % number
            call = fields(FILES, (b"authorization", token[:100]))
            await attacking.send(headers(stream, call) + message(stream, request(10_000 + number), END_STREAM))
            if number % 50 == 0:
                await until(lambda sent=number: attacking.ended > sent - 100, "calls to be answered")  # type: ignore[misc]
        await until(lambda: attacking.ended == 2000, "calls to be answered")
        assert attacking.said(b"grpc-status\x010") == 2000
    figures.check(most_mib=180)
