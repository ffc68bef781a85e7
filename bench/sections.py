"""The parts of a run, in the order in which they are shown. Each starts and ends what it needs."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench import (
    claims,
    gap,
    growth,
    picture,
    policies,
    profile,
    redis_side,
    side_by_side,
    start,
    subjects,
    tables,
    targets,
    telemetry,
    trace,
)
from bench.stack import Stack
from bench.targets import Target
from tests.support.servers.process import ROOT

ENVOY = "proxy-envoy"
_ROUNDS = 7
_TELEMETRY_ROUNDS = 30


@dataclass(frozen=True, slots=True)
class Outcome:
    """The results of one part."""

    figures: object
    """For the JSON file."""
    tables: dict[str, str]
    """Markdown by marker in docs/performance.md."""
    targets: list[Target] = field(default_factory=list)
    pictures: dict[str, Callable[[Path], None]] = field(default_factory=dict)
    """The function that draws each picture, by file name."""
    readme: dict[str, str] = field(default_factory=dict)
    """The same for README.md."""


async def sides() -> Outcome:
    """all servers side by side, about 3 minutes"""
    async with Stack() as stack:
        await stack.start(*subjects.SERVERS)
        fresh = {name: server.tree.resident() for name, server in stack.servers.items()}
        await subjects.check(stack)
        rows = await side_by_side.compare(stack, subjects.ALL, rounds=_ROUNDS)
        resident = {name: (fresh[name], server.tree.resident()) for name, server in stack.servers.items()}
        processes = {
            name: {"resident MB": resident[name], "started in s": server.started_in}
            for name, server in stack.servers.items()
        }
        return Outcome(
            {"rows": [row.shown() for row in rows.values()], "processes": processes},
            {
                "cost": tables.cost(rows, subjects.ECHO),
                "latency": tables.latency(rows),
                "processes": tables.servers(stack.servers, resident),
            },
            [*targets.of_rows(rows), *targets.of_envoy(fresh[ENVOY], stack.servers[ENVOY].started_in)],
            {"side-by-side.svg": partial(picture.side_by_side, rows, subjects.ECHO)},
        )


async def readme() -> Outcome:
    """what the README claims, about half a minute"""
    found = [*await claims.measure(), *await gap.measure()]
    return Outcome([], {}, found, readme={"claims": tables.claims(found)})


async def against_ideal() -> Outcome:
    """a trace against an ideal cache, about a minute"""
    found = await trace.run()
    return Outcome(found.shown(), {}, found.targets)


async def growing() -> Outcome:
    """how a hit's cost grows, about a minute and a half"""
    points, stampedes = await growth.run()
    return Outcome(
        growth.shown(points, stampedes),
        {
            "growth": tables.growth(points),
            "stampedes": tables.stampedes(stampedes),
            "pods": tables.pods(growth.per_hit_of_redis(points)),
        },
    )


async def told() -> Outcome:
    """what telemetry costs a hit, about half a minute"""
    found = telemetry.shares(await telemetry.measure(_TELEMETRY_ROUNDS))
    return Outcome(found, {"telemetry": tables.telemetry(found)})


async def where() -> Outcome:
    """what takes the CPU of a hit and of a forwarded call, about a minute"""
    found = await profile.run()
    return Outcome(
        found,
        {"profile": tables.profile(found), "left": tables.left(found)},
        [],
        {"profile.svg": partial(picture.profile, {kind: tables.folded(each) for kind, each in found.items()})},
    )


async def starting() -> Outcome:
    """what a start costs and what is resident after it, about a minute"""
    found = (await start.starts([ROOT]))[ROOT]
    parts = start.largest(await asyncio.to_thread(start.parts))
    return Outcome(
        {"starts": {name: [asdict(one) for one in runs] for name, runs in found.items()}, "parts": parts},
        {"starts": tables.starts(found), "memory": tables.memory(found), "parts": tables.parts(parts)},
    )


async def by_policy() -> Outcome:
    """what a policy costs at the start, about two minutes"""
    found = await policies.run()
    figures = {
        transport: {name: list(map(asdict, runs)) for name, runs in each.items()} for transport, each in found.items()
    }
    return Outcome(figures, {"policies": tables.policies(policies.rows(found))}, [*policies.targets(found)])


async def asked() -> Outcome:
    """what an HGET costs Redis by the way it is sent, about half a minute"""
    found = await redis_side.run()
    return Outcome(redis_side.shown(found), {"redis": tables.redis_side({way.name: way.redis_us for way in found})})


SECTIONS: dict[str, Callable[[], Coroutine[Any, Any, Outcome]]] = {
    "sides": sides,
    "readme": readme,
    "profile": where,
    "trace": against_ideal,
    "growth": growing,
    "telemetry": told,
    "start": starting,
    "policies": by_policy,
    "redis": asked,
}
"""The sections by name, as given on the command line."""
