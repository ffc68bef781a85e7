"""The parts of a run, in the order in which they are shown. Each starts what it needs, and ends it."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench import claims, picture, side_by_side, subjects, tables, targets
from bench.stack import Stack
from bench.targets import Target

_ROUNDS = 7


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one part found."""

    figures: object
    """For the JSON file."""
    tables: dict[str, str]
    """Marker in docs/performance.md to Markdown."""
    targets: list[Target] = field(default_factory=list)
    pictures: dict[str, Callable[[Path], None]] = field(default_factory=dict)
    """File name to what draws it."""


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
            targets.of_rows(rows),
            {"side-by-side.svg": partial(picture.side_by_side, rows, subjects.ECHO)},
        )


async def readme() -> Outcome:
    """what the README claims, about 15 seconds"""
    found = await claims.measure()
    return Outcome([], {}, found)


SECTIONS: dict[str, Callable[[], Coroutine[Any, Any, Outcome]]] = {"sides": sides, "readme": readme}
"""By name, as the command takes them."""
