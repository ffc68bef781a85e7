"""`Machine`: any sequence of what can happen to the caching cores of two proxies, drawn by hypothesis.

What a rule finds (a call to cancel, a fetch to let go) depends on timing; what hypothesis draws does not: numbers only,
taken modulo what is there. So a sequence can be replayed, and timing decides no verdict, since the `Checker` judges
what really happened.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proxy.model import Model
from tests.consistency.checker import Asked
from tests.consistency.world import World
from tests.servers.redis import RedisServer

_MODELS = (1, 2)
numbers = st.integers(0, 7)
processes = st.integers(0, 1)
models = st.sampled_from(_MODELS)
requests = st.builds(
    Asked,
    model_id=models,
    model_type=st.sampled_from(["User", "user"]),
    page=st.sampled_from([1, 1, 2]),
    caller=st.sampled_from(["", "ann", "ben"]),
)


class Machine(RuleBasedStateMachine):
    """Two proxies, one Redis. Events wait in `events`, each the model it names, until the broker sends them."""

    redis: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self.world = World(self.redis.addr)
        self.events: list[int] = []
        self.run(self._start())

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """The world goes on while this does."""
        self._runner.run(work)

    async def _start(self) -> None:
        await self.redis.cli("FLUSHALL")
        await self.world.__aenter__()
        for _ in range(2):
            await self.world.process()

    @rule(process=processes, asked=requests, fresh=st.sampled_from([False, False, False, True]))
    def read(self, process: int, asked: Asked, fresh: bool) -> None:
        async def work() -> None:
            self.world.reading(self.world.processes[process], asked, fresh=fresh)

        self.run(work())

    @rule()
    def settle(self) -> None:
        self.run(self.world.settle())

    @rule(gated=st.booleans())
    def gate(self, gated: bool) -> None:
        async def work() -> None:
            self.world.origin.gated = gated

        self.run(work())

    @rule(which=numbers)
    def let_one_go(self, which: int) -> None:
        async def work() -> None:
            self.world.origin.release(which)

        self.run(work())

    @rule(failing=st.booleans())
    def fail(self, failing: bool) -> None:
        self.world.origin.failing = failing

    @rule(model=models)
    def commit(self, model: int) -> None:
        """Another service's write: its event is on its way."""
        self.world.checker.commit(Model.of("user", model))
        self.events.append(model)

    @rule(process=processes, model=models)
    def write(self, process: int, model: int) -> None:
        """Through a proxy; it also makes an event."""

        async def work() -> None:
            self.world.writing(self.world.processes[process], model)

        self.run(work())
        self.events.append(model)

    @rule(process=processes, which=numbers, again=st.booleans())
    def deliver(self, process: int, which: int, again: bool) -> None:
        """In any order, late, more than once."""
        if self.events:
            at = which % len(self.events)
            model = self.events[at] if again else self.events.pop(at)
            self.run(self.world.deliver(self.world.processes[process], model))

    @rule(process=processes, which=numbers)
    def lose(self, process: int, which: int) -> None:
        """An event never comes; the consumer that may have missed it flushes."""
        if self.events:
            self.events.pop(which % len(self.events))
        self.run(self.world.flush(self.world.processes[process]))

    @rule(which=numbers)
    def cancel(self, which: int) -> None:
        """A caller goes away."""

        async def work() -> None:
            under_way = [call for call in self.world.calls if not call.done()]
            if under_way:
                under_way[which % len(under_way)].cancel()

        self.run(work())

    @rule(which=numbers)
    def evict(self, which: int) -> None:
        """Redis needs memory."""

        async def work() -> None:
            keys = sorted(await self.redis.cli("KEYS", "media:*"))
            if keys:
                await self.redis.cli("DEL", keys[which % len(keys)])

        self.run(work())

    @rule(seconds=st.sampled_from([-3600, -1, 1, 11, 700]))
    def jump(self, seconds: int) -> None:
        """Redis' clock: past an event's window, past a lease, past the TTL; and back."""
        self.run(self.world.clock.jump(self.redis, seconds))

    @rule(process=processes)
    def disconnect(self, process: int) -> None:
        """A proxy loses its connections to Redis, and what was under way on them."""

        async def work() -> None:
            for node in self.world.processes[process].store._topology.nodes():
                node.drop("cut by the test")

        self.run(work())

    @invariant()
    def nothing_is_wrong(self) -> None:
        self.world.acknowledge_writes()
        assert not self.world.checker.violations, "\n".join(self.world.checker.violations)

    async def _converge(self) -> None:
        """Once the events that are left have come, every read sees what the origin has."""
        world = self.world
        world.origin.failing = False
        for model in self.events:
            await world.deliver(world.processes[0], model)
        await world.quiet()
        for model in _MODELS:
            key = Model.of("user", model)
            world.checker.applied(key, world.checker.version(key), "all is quiet")
            for process in world.processes:
                for caller in ("", "ann", "ben"):
                    await world.read(process, Asked(model, caller=caller))

    def teardown(self) -> None:
        try:
            self.run(self._converge())
            self.nothing_is_wrong()
        finally:
            self.run(self.world.__aexit__())
            self._runner.close()
