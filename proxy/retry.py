"""`until_done`: retries an action at growing intervals until it succeeds."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator

Pauses = Callable[[], Iterator[float]]
"""Returns a new endless series of pauses, in seconds."""


def jittered(
    low: float = 0.1, high: float = 5.0, uniform: Callable[[float, float], float] = random.uniform
) -> Iterator[float]:
    """Endless pauses in seconds that double from `low` to `high`, each shortened at random by up to half."""
    ceiling = low
    while True:
        yield uniform(ceiling / 2, ceiling)
        ceiling = min(high, ceiling * 2)


async def until_done(
    action: Callable[[], Awaitable[None]], failed: Callable[[int, Exception], None], pauses: Pauses = jittered
) -> None:
    """Returns once `action` has returned. Each time it raises, `failed` gets the number of failures and the error."""
    for times, pause in enumerate(pauses(), 1):
        try:
            await action()
        except Exception as error:  # noqa: BLE001 -- the action must be repeated, whatever went wrong
            failed(times, error)
        else:
            return
        await asyncio.sleep(pause)
