"""Retries what must not be lost until it is done, at growing intervals."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator

Pauses = Callable[[], Iterator[float]]
"""Begins a new series of pauses, in seconds, without end."""


def jittered(
    low: float = 0.1, high: float = 5.0, uniform: Callable[[float, float], float] = random.uniform
) -> Iterator[float]:
    """Pauses that double from `low` to `high`, each shortened by up to half at random."""
    ceiling = low
    while True:
        yield uniform(ceiling / 2, ceiling)
        ceiling = min(high, ceiling * 2)


async def until_done(
    action: Callable[[], Awaitable[None]], failed: Callable[[int, Exception], None], pauses: Pauses = jittered
) -> None:
    """Returns once `action` returned. Each time it raises, `failed` is told how many times it has, and the error."""
    for times, pause in enumerate(pauses(), 1):
        try:
            await action()
        except Exception as error:  # noqa: BLE001 -- whatever it was, the action is still to be done
            failed(times, error)
        else:
            return
        await asyncio.sleep(pause)
