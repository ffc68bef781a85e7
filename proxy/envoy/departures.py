"""`Departures`: notices callers that go away while their calls are being answered, and cancels the calls.

pyvoy reports this only when asked: once a request has been read, `receive()` returns at once, with `http.disconnect` if
the caller is gone. Each query goes to Envoy's thread and back, so the first one is made after 25 ms, when nearly every
hit has been answered, and the next at growing intervals. Calls that end by a deadline, which Envoy enforces, are
noticed here as well.
"""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]

_FIRST = 0.025
_LONGEST = 0.5
"""Maximum seconds between two queries about one call."""
_MOST_AT_ONCE = 8
"""Maximum queries in a row: a few hundred per second, however many calls are in progress. More would slow Envoy."""


class Watched:
    """One call, from the end of its request to the beginning of its answer."""

    __slots__ = ("due", "gone", "receive", "since", "task")

    def __init__(self, receive: Receive, task: "asyncio.Task[Any]", now: float) -> None:
        self.receive = receive
        self.task = task
        self.since = now
        self.due = now + _FIRST
        self.gone = False
        """Whether the caller has left, and `task` was cancelled because of it."""


class Departures:
    """The calls that are watched. It works only while `run` runs."""

    def __init__(self, clock: Callable[[], float], sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._watched: dict[Watched, None] = {}
        self._any = asyncio.Event()

    def enter(self, receive: Receive, task: "asyncio.Task[Any]") -> Watched:
        """Watches the caller of a call that `task` answers. `leave` must follow, however the call ends."""
        watched = Watched(receive, task, self._clock())
        if not self._watched:
            self._any.set()
        self._watched[watched] = None
        return watched

    def leave(self, watched: Watched) -> None:
        """Ends the watch, because the call was answered or cancelled."""
        self._watched.pop(watched, None)

    async def run(self) -> None:
        """Queries and cancels calls until it is itself cancelled."""
        while True:
            if not self._watched:
                self._any.clear()
                await self._any.wait()
            await self._sleep(_FIRST)
            now = self._clock()
            due = (each for each in self._watched if each.due <= now)
            for watched in list(islice(due, _MOST_AT_ONCE)):
                await self._ask(watched, now)

    async def _ask(self, watched: Watched, now: float) -> None:
        event = await watched.receive()
        if watched not in self._watched:
            return  # answered meanwhile
        if event["type"] == "http.disconnect":
            self.leave(watched)
            watched.gone = True
            watched.task.cancel("the caller is gone")
        else:
            watched.due = now + min(_LONGEST, now - watched.since)
            # It moves behind all others, so that each has its turn.
            self._watched[watched] = self._watched.pop(watched)
