"""`Departures`: notices callers that go away while their calls are being answered, and cancels the calls.

pyvoy only reports this when asked: once a request has been read, `receive()` returns at once, with `http.disconnect` if
the caller is gone. Each question goes to Envoy's thread and back, so it is first asked after 25 ms, when nearly every
hit has been answered, and then at growing intervals. Envoy enforces deadlines; calls that end by one show here as well.
"""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]

_FIRST = 0.025
_LONGEST = 0.5
"""Seconds between two questions about one call."""
_MOST_AT_ONCE = 8
"""Questions in a row: some hundred in a second, whatever is in progress, or they would keep busy who has to answer."""


class Watched:
    """One call, from the end of its request to the begin of its answer."""

    __slots__ = ("due", "gone", "receive", "since", "task")

    def __init__(self, receive: Receive, task: "asyncio.Task[Any]", now: float) -> None:
        self.receive = receive
        self.task = task
        self.since = now
        self.due = now + _FIRST
        self.gone = False
        """The caller left, and `task` was cancelled for it."""


class Departures:
    """`run` has to run."""

    def __init__(self, clock: Callable[[], float], sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._watched: dict[Watched, None] = {}
        self._any = asyncio.Event()

    def enter(self, receive: Receive, task: "asyncio.Task[Any]") -> Watched:
        """`task` answers a call; `leave` follows, however that ends."""
        watched = Watched(receive, task, self._clock())
        if not self._watched:
            self._any.set()
        self._watched[watched] = None
        return watched

    def leave(self, watched: Watched) -> None:
        """The call is answered, or was cancelled."""
        self._watched.pop(watched, None)

    async def run(self) -> None:
        """Until cancelled."""
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
            # Behind all others, so that each has its turn.
            self._watched[watched] = self._watched.pop(watched)
