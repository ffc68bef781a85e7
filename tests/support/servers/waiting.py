"""Waits for a condition, never for a fixed time."""

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable

_POLL = 0.01


async def until(
    condition: Callable[[], Awaitable[object] | object], what: str = "the condition", timeout: float = 30
) -> None:
    """Returns once `condition()`, which may be async, is true; TimeoutError names `what` after `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            while True:
                result = condition()
                if await result if isawaitable(result) else result:
                    return
                await asyncio.sleep(_POLL)
    except TimeoutError:
        raise TimeoutError(f"still waiting after {timeout:g} s for {what}") from None
