"""The judge: what stays the same is fine, whatever the noise; what grows with the calls is found, and named."""

import asyncio
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from tests.soak.held import CountedProxy, Sample, findings, growth
from tests.support.servers.waiting import until

_MIB = 1 << 20


def _samples(**by_call: float) -> list[Sample]:
    """24 of 20,000 calls, warm after a fifth, with noise; `by_call` of what more there is for each call."""
    source = random.Random(1)  # noqa: S311 -- noise
    found = []
    for calls in range(0, 20_001, 800):
        warm = min(calls, 4000) / 4000
        noise = source.uniform(-0.5, 0.5)
        one = Sample(
            calls,
            int((70 + 8 * warm + noise) * _MIB),
            int((15 + warm) * _MIB),
            int(290_000 + 4000 * warm + 500 * noise),
            23,
            22,
            7,
        )
        grown: dict[str, Any] = {name: int(getattr(one, name) + more * calls) for name, more in by_call.items()}
        found.append(replace(one, **grown))
    return found


def test_noise_and_a_warm_up_are_no_growth() -> None:
    assert findings(_samples()) == []
    grown = growth(_samples())
    assert abs(grown.rss * grown.calls) < _MIB
    assert abs(grown.heap) < 10
    assert abs(grown.blocks) < 0.1


@pytest.mark.parametrize(
    ("by_call", "found"),
    [
        ({"blocks": 1}, "1.0"),
        ({"rss": 600}, "RSS grew by "),
        ({"heap": 200}, "what malloc gave out grew by "),
        ({"tasks": 0.00014}, "tasks: 25, and at most 23 during the warm-up"),
        ({"descriptors": 0.00014}, "descriptors: 24, and at most 22 during the warm-up"),
        ({"connections": 0.00014}, "connections: 9, and at most 7 during the warm-up"),
    ],
)
def test_what_grows_is_named(by_call: dict[str, float], found: str) -> None:
    assert findings(_samples(**by_call))[0].startswith(found)


def test_the_types_are_named_of_which_there_are_more() -> None:
    samples = _samples(blocks=1)
    samples[-1] = replace(samples[-1], kinds=Counter({"Call": 16_000, "list": 5}))
    assert findings(samples)[-1] == "more than after the warm-up: 16000 Call, 5 list"


async def _more(proxy: CountedProxy, before: Sample) -> bool:
    return (await proxy.sample(0)).connections > before.connections


async def test_a_proxy_tells_what_it_holds() -> None:
    async with CountedProxy() as proxy:
        before = await proxy.sample(0)
        assert before.rss > 20 * _MIB
        assert before.blocks > 10_000
        assert before.tasks > 2
        assert before.kinds["Task"] > 0
        _, writer = await asyncio.open_connection("127.0.0.1", proxy.listen_port)
        await until(lambda: _more(proxy, before), "the connection to be there")
        after = await proxy.sample(1)
        assert after.connections == before.connections + 1
        assert after.descriptors == before.descriptors + 1
        writer.close()

        async def closed() -> bool:  # tasks come and go while it looks for the media service
            now = await proxy.sample(2)
            return (now.descriptors, now.connections) == (before.descriptors, before.connections)

        await until(closed, "nothing of the connection to be left")
