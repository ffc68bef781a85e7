"""Shared by the tests of the event consumer: a running consumer with its fakes, and its state."""

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.amqp.consumer import EventConsumer
from proxy.amqp.topology import Findings
from tests.support.amqp import FakeInvalidator, FakeObserver, queues
from tests.support.media_events import EVENTS
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.waiting import until

PREFIX = "ours"
UPLOADED, DELETED = "ours-uploaded", "ours-deleted"


class Running:
    """A running consumer, its fakes, and a publisher."""

    def __init__(self, url: str, prefix: str = PREFIX, urls: tuple[str, ...] = (), **options: Any) -> None:
        self.cache = FakeInvalidator()
        self.seen = FakeObserver()
        self.pauses = 0
        """How often it has waited before a retry."""
        self.series = 0
        """How often a series of waits began, with the shortest one."""
        options = {"events": EVENTS, "check_interval": 60.0, "patience": 600.0, "pauses": self._pauses, **options}
        self.consumer = EventConsumer(urls or (url,), prefix, self.cache, self.seen, **options)

    def _pauses(self) -> Iterator[float]:
        self.series += 1
        while True:
            self.pauses += 1
            yield 0.05

    async def up(self) -> None:
        await until(lambda: self.seen.up, "the consumer to be connected")

    async def down(self) -> None:
        await until(lambda: not self.seen.up, "the consumer to notice the loss")

    async def settled(self) -> None:
        """It is connected, has flushed if a flush was owed, and the marker exchange exists."""
        await self.up()
        await until(lambda: self.consumer._flushes.settled and self.consumer._marked, "the mark")

    async def checked(self, count: int) -> None:
        """Waits until this many checks of the broker have begun and ended from now on."""
        look, begun, last = self.consumer._topology.look, itertools.count(), 0

        async def counted(*args: Any, **options: Any) -> Findings:
            nonlocal last
            found = await look(*args, **options)
            last = next(begun)
            return found

        self.consumer._topology.look = counted  # type: ignore[method-assign]
        await until(lambda: last >= count, f"{count} checks")


@asynccontextmanager
async def running(url: str, prefix: str = PREFIX, *, held: bool = False, **options: Any) -> AsyncIterator[Running]:
    one = Running(url, prefix, **options)
    if held:
        one.cache.all_open.clear()
    one.consumer.start()
    try:
        yield one
    finally:
        await one.consumer.stop(grace=0.0)


async def once(url: str, prefix: str = PREFIX) -> None:
    """Creates what an earlier consumer would have left on the broker."""
    async with running(url, prefix) as before:
        await before.settled()


async def empty(rabbit: RabbitServer, url: str) -> bool:
    """Whether no message waits or is unacknowledged."""
    found = await queues(rabbit, url)
    return all(not queue.ready and not queue.unacknowledged for queue in found.values())


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    """The proxy's own log lines of a level."""
    return [
        record.getMessage() for record in caplog.records if record.name.startswith("proxy.") and record.levelno == level
    ]
