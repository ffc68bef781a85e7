"""`Flight`: one fetch, and all reads that wait for it.

Rules:
    start   a read with a token that no flight in this process has starts a flight under it
    join    a read joins only by a token that its own round trip to Redis, begun after it arrived, returned
    land    the result is there: the waiters go on; the flight can be joined until it has stored the result
    end     the flight leaves the table; if the last waiter leaves before the landing, the fetch is cancelled
A waiter that gives up does not affect the others. A read that joins by a token which Redis still accepts shares a fetch
that began after every earlier invalidation, since an invalidation ends all tokens.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from proxy.telemetry import tracing

_log = logging.getLogger(__name__)

T = TypeVar("T")
Token = tuple[bytes, bytes, bytes]
"""The key of a model's hash, the field in it, and the run id followed by the token of a lease or a mark."""


class Flight(Generic[T]):
    """One fetch and its waiters; made by `Flights.start`."""

    def __init__(self, table: "Flights[T]", token: Token) -> None:
        self._table = table
        self._tokens = [token]
        self._waiters = 0
        self._landed: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._leader = tracing.here()
        self.task: asyncio.Task[None] | None = None

    async def wait(self) -> T:
        """Waits for the result; raises what the fetch raised."""
        self._waiters += 1
        tracing.link(self._leader)
        try:
            return await asyncio.shield(self._landed)
        finally:
            self._waiters -= 1
            if self._waiters == 0 and not self._landed.done():
                self._table.forget(self._tokens, self)
                if self.task is not None:
                    self.task.cancel()

    def land(self, result: T) -> None:
        """Sets the result. Code that follows in the same turn of the event loop runs before any waiter goes on."""
        if not self._landed.done():
            self._landed.set_result(result)

    def also_known_as(self, token: Token) -> None:
        """Makes this flight findable by another token too, when it has taken a lease over."""
        self._tokens.append(token)
        self._table.enter(token, self)

    async def run(self, work: "Callable[[Flight[T]], Awaitable[None]]") -> None:
        """Runs the work, which must call `land`."""
        try:
            await work(self)
        except Exception as error:  # noqa: BLE001 -- logged here, or raised to the waiters, whose transport logs it
            if self._landed.done():
                _log.exception("an answer was given and could not be stored")
            else:
                self._landed.set_exception(error)
                self._landed.exception()

    def ended(self) -> None:
        """Releases the waiters, whatever ended the task; it may have been cancelled before its first step."""
        self._table.forget(self._tokens, self)
        self._landed.cancel()


class Flights(Generic[T]):
    """The flights of one process, by token; owns their tasks."""

    def __init__(self) -> None:
        self._by_token: dict[Token, Flight[T]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def find(self, token: Token) -> Flight[T] | None:
        """The flight to join; None if there is none under this token."""
        return self._by_token.get(token)

    def start(self, token: Token, work: Callable[[Flight[T]], Awaitable[None]]) -> Flight[T]:
        """Starts a flight under a token that has none."""
        flight: Flight[T] = Flight(self, token)
        self.enter(token, flight)
        flight.task = asyncio.create_task(flight.run(work))
        self._tasks.add(flight.task)
        flight.task.add_done_callback(lambda task: self._end(task, flight))
        return flight

    def enter(self, token: Token, flight: Flight[T]) -> None:
        """Makes a flight findable by this token."""
        self._by_token[token] = flight

    def forget(self, tokens: list[Token], flight: Flight[T]) -> None:
        """Removes a flight's tokens, so that nobody joins it; a newer flight under the same token stays."""
        for token in tokens:
            if self._by_token.get(token) is flight:
                del self._by_token[token]

    def _end(self, task: asyncio.Task[None], flight: Flight[T]) -> None:
        self._tasks.discard(task)
        flight.ended()

    async def close(self) -> None:
        """Cancels the flights under way and waits for them to end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
