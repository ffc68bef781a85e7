"""The protocol of further tags in all interleavings, through the real scripts, as `interleavings` does for leases.

An answer is stored under P and depends on T. Two steps that touch nothing in common can be exchanged without any
effect, so of all orders that differ only in this way, one is run. The protocol compares ages, so Redis' clock is
replaced by one that advances with each step, whatever the machine's load.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha1

from redis import Redis

from proxy.calls import entry
from proxy.store.dependants import CLOSE, DEPEND, FORGET, MARK_MS, MOST_DEPENDANTS, _judged
from proxy.store.model_hash import LIMITS, LONGEST_INTENT_MS
from proxy.store.redis_store import _ACQUIRE, _FILL, _INVALIDATE, _RELEASE, LEASE_MS
from tests.support.interleavings import FIELD, IDENTITY, LONG, RUN, Command, execute, script, version_of

STEP_MS = 200
"""More than the margin of the ages; a dozen steps take less than a lease's life."""
_CLOCK = "tests:now"
_TIME = b"redis.call('TIME')"
_NOW = b"(function() return {redis.call('GET', '" + _CLOCK.encode() + b"'), '0'} end)()"
_AT_ONCE = 4000  # worlds
_P = b"slug/mug"

Step = tuple[Command, Callable[[object], None]] | None


class Scripts:
    """The proxy's scripts, with the clock of the steps; a test may replace one."""

    def __init__(self, redis: Redis, changed: "dict[str, Callable[[bytes], bytes]] | None" = None) -> None:
        sources = {"acquire": _ACQUIRE, "fill": _FILL, "release": _RELEASE, "invalidate": _INVALIDATE}
        sources |= {"depend": DEPEND, "close": CLOSE, "forget": FORGET}
        self.sha: dict[str, bytes] = {}
        for name, one in sources.items():
            change = (changed or {}).get(name)
            source = (one.source if change is None else change(one.source)).replace(_TIME, _NOW)
            redis.script_load(source)
            self.sha[name] = sha1(source, usedforsecurity=False).hexdigest().encode()


@dataclass(slots=True)
class World:
    """One answer and the tag that it depends on. A version is the number of commits."""

    number: int
    order: tuple[int, ...]
    scripts: Scripts
    actors: "Sequence[Actor]" = ()
    version: int = 0
    floor: int = 0
    """The oldest version that a read that begins now may see."""
    now_ms: int = 0
    forgotten: bool = False
    """Whether Redis has evicted the tag's dependants."""
    faults: list[str] = field(default_factory=list)

    @property
    def own(self) -> bytes:
        return b"world:%d:own" % self.number

    @property
    def further(self) -> bytes:
        return b"world:%d:further" % self.number

    def ask(self, name: str, key: bytes, *arguments: bytes) -> Command:
        return script(self.scripts.sha[name], key, *arguments)


class Actor:
    """`steps`, each with what it touches: the version at the origin, P's hash, T's dependants, the oldest version."""

    steps: tuple[tuple[str, str], ...]

    def __init__(self, name: str, world: World) -> None:
        self.name, self.world, self.at = name, world, 0

    def step(self) -> Step:
        name, _ = self.steps[self.at]
        self.at += 1
        taken: Step = getattr(self, name)()
        return taken


class Reader(Actor):
    """A read that misses, or that is given another reader's token."""

    steps: tuple[tuple[str, str], ...] = (("acquire", "PF"), ("fetch", "V"), ("depend", "T"), ("fill", "P"))

    def __init__(self, name: str, world: World) -> None:
        super().__init__(name, world)
        self.token, self.kind, self.told = name.encode(), "", b""
        self.floor, self.fetched, self.began, self.refusal = 0, 0, 0, "not told yet"

    def acquire(self) -> Step:
        self.floor = self.world.floor
        arguments = FIELD, RUN, self.token, b"%d" % LEASE_MS, b"0", b"0", b"", b"", *LIMITS
        return self.world.ask("acquire", self.world.own, *arguments), self._granted

    def fetch(self) -> Step:
        self.fetched, self.began = self.world.version, self.world.now_ms
        return None

    def depend(self) -> Step:
        if self.kind != "lease":
            return None
        arguments = _P, LONG, b"%d" % MOST_DEPENDANTS, b"%d" % LONGEST_INTENT_MS
        return self.world.ask("depend", self.world.further, *arguments), self._vetted

    def fill(self) -> Step:
        if self.kind != "lease":
            return None
        own = FIELD, RUN, self.token
        if self.refusal:
            return self.world.ask("release", self.world.own, *own), lambda _: None
        tail = entry.tail(IDENTITY, b"%d" % self.fetched)
        return self.world.ask("fill", self.world.own, *own, LONG, b"0", b"", b"", tail), lambda _: None

    def _granted(self, reply: object) -> None:
        assert isinstance(reply, list)
        kind, value, _ = reply
        if kind == b"entry":
            self.kind, stored = "hit", version_of(value)
            if stored is not None and stored < self.floor:
                self.world.faults.append(f"{self.name} was answered with {stored}, must see {self.floor}")
        else:
            self.kind, self.told = kind.decode(), value

    def _vetted(self, reply: object) -> None:
        self.refusal = _judged([reply], self.world.now_ms - self.began)


class Invalidator(Actor):
    """Another service's commit and its event. The commit comes as late as possible, just before the event."""

    steps: tuple[tuple[str, str], ...] = (("close", "VTF"), ("remove", "PF"))
    window = b"0"

    def __init__(self, name: str, world: World) -> None:
        super().__init__(name, world)
        self.version, self.at_ms = 0, b""
        self.dependants: list[bytes] = []

    def close(self) -> Step:
        self.world.version += 1
        self.version = self.world.version
        return self._closed()

    def _closed(self) -> Step:
        arguments = self.window, b"", b"0", b"", MARK_MS, *LIMITS
        return self.world.ask("close", self.world.further, *arguments), self._told

    def remove(self) -> Step:
        if not self.dependants:
            return None
        mark = self.name.encode()
        arguments = RUN, mark, b"0", b"", b"0", b"", *LIMITS
        return self.world.ask("invalidate", self.world.own, *arguments), lambda _: self._counts()

    def _told(self, reply: object) -> None:
        assert isinstance(reply, list)
        now, _, *self.dependants = reply
        self.at_ms = b"%d" % now
        if not self.dependants:
            self._counts()

    def _counts(self) -> None:
        self.world.floor = max(self.world.floor, self.version)


class Forgetting(Invalidator):
    """An invalidation that makes Redis forget the dependants that it removed."""

    steps = (*Invalidator.steps, ("forget", "T"))

    def forget(self) -> Step:
        if not self.dependants:
            return None
        return self.world.ask("forget", self.world.further, self.at_ms, *self.dependants), lambda _: None


class EarlyInvalidator(Invalidator):
    """An origin that publishes before it commits, within the window."""

    steps = (("publish", "TF"), ("remove", "PF"), ("commit", "V"))
    window = LONG

    def publish(self) -> Step:
        return self._closed()

    def commit(self) -> Step:
        self.world.version += 1
        return None


class Evictor(Actor):
    """Redis evicts the answer's hash."""

    steps = (("evict", "P"),)

    def evict(self) -> Step:
        return (b"DEL", self.world.own), lambda _: None


class Forgetter(Actor):
    """Redis evicts the tag's dependants."""

    steps = (("evict", "T"),)

    def evict(self) -> Step:
        self.world.forgotten = True
        return (b"DEL", self.world.further), lambda _: None


def orders(kinds: Sequence[type[Actor]]) -> Iterator[tuple[int, ...]]:
    """Yields all orders of the actors' steps, except those that only exchange steps with nothing in common; of equal
    neighbouring actors, the first begins.
    """
    touched = [[set(touches) for _, touches in kind.steps] for kind in kinds]
    at = [0] * len(kinds)

    def further(taken: tuple[int, ...], last: set[str]) -> Iterator[tuple[int, ...]]:
        if len(taken) == sum(map(len, touched)):
            yield taken
        for actor, steps in enumerate(touched):
            if at[actor] == len(steps):
                continue
            alike = actor and kinds[actor] is kinds[actor - 1]
            if alike and not at[actor] and not at[actor - 1]:
                continue
            touches = steps[at[actor]]
            if taken and taken[-1] > actor and not touches & last:
                continue
            at[actor] += 1
            yield from further((*taken, actor), touches)
            at[actor] -= 1

    return further((), set())


def run(redis: Redis, scripts: Scripts, *kinds: type[Actor]) -> list[World]:
    """Runs all interleavings of these actors; returns the worlds at their ends, with the errors found in each."""
    worlds = [World(number, order, scripts) for number, order in enumerate(orders(kinds))]
    for at in range(0, len(worlds), _AT_ONCE):
        _run(redis, worlds[at : at + _AT_ONCE], kinds)
    return worlds


def _run(redis: Redis, worlds: list[World], kinds: Sequence[type[Actor]]) -> None:
    for world in worlds:
        world.actors = [kind(f"{kind.__name__}{at}", world) for at, kind in enumerate(kinds)]
    for turn in range(len(worlds[0].order)):
        seconds = 1_000_000 + turn * STEP_MS / 1000
        redis.set(_CLOCK, f"{seconds:.3f}")
        for world in worlds:
            world.now_ms = round(seconds * 1000)
        steps = [world.actors[world.order[turn]].step() for world in worlds]
        execute(redis, [step for step in steps if step is not None])
    execute(redis, [((b"HGET", world.own, b"e" + FIELD), _judge(world)) for world in worlds])
    redis.delete(*[key for world in worlds for key in (world.own, world.further)])


def _judge(world: World) -> Callable[[object], None]:
    """What is stored at the end equals the origin's version; readers only share fetches that are new enough."""

    def judge(value: object) -> None:
        stored = version_of(value)
        if stored is not None and stored < world.version:
            world.faults.append(f"{stored} is stored, the origin has {world.version}")
        readers = [actor for actor in world.actors if isinstance(actor, Reader)]
        for reader in readers:
            for other in readers:
                shares = reader.kind == "held" and other.token == reader.told and not other.refusal
                if shares and other.fetched < reader.floor:
                    world.faults.append(f"{reader.name} shares {other.fetched}, must see {reader.floor}")

    return judge
