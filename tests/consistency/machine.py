"""`Machine`: arbitrary sequences of what can happen to the caching cores of two proxies, drawn by hypothesis.

What a rule finds (a call to cancel, a fetch to release) depends on timing. What hypothesis draws does not: it draws
only numbers, which are taken modulo what is there. So a sequence can be replayed, and timing decides no verdict,
because the `Checker` judges what really happened.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proxy.policy.builtin.model import Model
from tests.consistency.checker import Asked
from tests.consistency.world import World
from tests.support.servers.redis import RedisServer

_MODELS = (1, 2)
_MOSTLY_ONE = (1, 1, 1, 2)
numbers = st.integers(0, 7)
processes = st.integers(0, 1)
models = st.sampled_from(_MOSTLY_ONE)
requests = st.builds(
    Asked,
    model_id=models,
    model_type=st.sampled_from(["User", "User", "user"]),
    page=st.sampled_from([1, 1, 1, 2]),
    caller=st.sampled_from(["", "", "ann", "ben"]),
)


class Machine(RuleBasedStateMachine):
    """Two proxies and one Redis. Events, each the number of its model, wait in `events` until the broker sends them."""

    redis: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self.world = World(self.redis.addr)
        self.events: list[int] = []
        self.run(self._start())

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs a coroutine, while everything else continues."""
        self._runner.run(work)

    async def _start(self) -> None:
        await self.redis.cli("FLUSHALL")
        await self.world.__aenter__()
        for _ in range(2):
            await self.world.process()

    @rule(process=processes, asked=requests, gated=st.booleans(), settle=st.booleans())
    def read(self, process: int, asked: Asked, gated: bool, settle: bool) -> None:
        """A caller's read. `gated`: fetches and writes that begin from now on are held until they are released."""
        self.run(self._read(process, asked, gated=gated, settle=settle))

    @rule(process=processes)
    def read_again(self, process: int) -> None:
        """The request that most rules use."""
        self.run(self._read(process, Asked(1), gated=True, settle=True))

    @rule(process=processes, asked=requests)
    def read_fresh(self, process: int, asked: Asked) -> None:
        """A read with `cache-control: no-cache`."""
        self.run(self._read(process, asked, gated=True, settle=True, fresh=True))

    async def _read(self, process: int, asked: Asked, *, gated: bool, settle: bool, fresh: bool = False) -> None:
        self.world.origin.gated = gated
        self.world.reading(self.world.processes[process], asked, fresh=fresh)
        if settle:
            await self.world.settle()

    @rule(which=numbers)
    def let_one_go(self, which: int) -> None:
        """A fetch that has read its version lands, or a write continues."""

        async def work() -> None:
            self.world.origin.release(which)
            await self.world.settle()

        self.run(work())

    @rule(process=processes)
    def fail_once(self, process: int) -> None:
        """The origin's `success = false`."""

        async def work() -> None:
            self.world.origin.failing = True
            await self._read(process, Asked(1), gated=False, settle=True)
            self.world.origin.failing = False

        self.run(work())

    @rule(process=processes, model=models)
    def tell(self, process: int, model: int) -> None:
        """A write by another service, whose event arrives at once."""

        async def work() -> None:
            self.world.checker.commit(Model.of("user", model))
            await self.world.deliver(self.world.processes[process], model)
            await self.world.settle()

        self.run(work())

    @rule(model=models)
    def commit(self, model: int) -> None:
        """A write by another service, whose event is on its way."""
        self.world.checker.commit(Model.of("user", model))
        self.events.append(model)

    @rule(process=processes, model=models)
    def write(self, process: int, model: int) -> None:
        """A write through a proxy, which also causes an event."""

        async def work() -> None:
            self.world.writing(self.world.processes[process], model)

        self.run(work())
        self.events.append(model)

    @rule(process=processes, which=numbers, again=st.booleans())
    def deliver(self, process: int, which: int, again: bool) -> None:
        """Delivers an event: in any order, late, or more than once."""
        if self.events:
            at = which % len(self.events)
            model = self.events[at] if again else self.events.pop(at)
            self.run(self.world.deliver(self.world.processes[process], model))

    @rule(process=processes, which=numbers)
    def lose(self, process: int, which: int) -> None:
        """An event is lost; the consumer that may have missed it flushes."""
        if self.events:
            self.events.pop(which % len(self.events))
        self.run(self.world.flush(self.world.processes[process]))

    @rule(what=st.sampled_from(["cancel", "evict", "disconnect"]), which=numbers)
    def disturb(self, what: str, which: int) -> None:
        """A caller leaves; Redis evicts; or a proxy loses its connections and the requests on them."""
        self.run({"cancel": self._cancel, "evict": self._evict, "disconnect": self._disconnect}[what](which))

    async def _cancel(self, which: int) -> None:
        under_way = [call for call in self.world.calls if not call.done()]
        if under_way:
            under_way[which % len(under_way)].cancel()

    async def _evict(self, which: int) -> None:
        keys = sorted(await self.redis.cli("KEYS", "media:*"))
        if keys:
            await self.redis.cli("DEL", keys[which % len(keys)])

    async def _disconnect(self, which: int) -> None:
        for node in self.world.processes[which % 2].store._topology.nodes():
            node.drop("cut by the test")

    @rule(seconds=st.sampled_from([-3600, -1, 1, 11, 700]))
    def jump(self, seconds: int) -> None:
        """Redis' clock jumps beyond an event's window, a lease or the TTL, or back."""
        self.run(self.world.clock.jump(self.redis, seconds))

    @invariant()
    def nothing_is_wrong(self) -> None:
        self.world.acknowledge_writes()
        assert not self.world.checker.violations, "\n".join(self.world.checker.violations)

    async def _converge(self) -> None:
        """Once the remaining events have arrived, every read sees what the origin has."""
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
