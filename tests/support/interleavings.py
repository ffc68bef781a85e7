"""Every interleaving of a few readers and writers of one model, run on a real Redis through the real scripts.

A *world* is one interleaving on its own hash. All worlds advance together: the n-th commands of all are one pipeline,
so that tens of thousands of interleavings take seconds. The actors repeat the protocol, one step per line; they share
the scripts with the proxy.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from redis import Redis

from proxy.calls import entry
from proxy.store.model_hash import LIMITS
from proxy.store.redis_store import _ACQUIRE, _FILL, _INVALIDATE, LEASE_MS

RUN = b"f" * 40
FIELD = b"0123456789abcdef"
IDENTITY = b"the request"
LONG = b"60000"
"""A time in ms that no test outlives, for everything that holds for a while."""

Command = tuple[bytes, ...]


@dataclass(slots=True)
class World:
    """One model at its origin and in Redis. A version is the number of commits."""

    key: bytes
    order: tuple[int, ...]
    actors: "Sequence[Actor]" = ()
    version: int = 0
    floor: int = 0
    """The oldest version that a read that begins now may see: the origin's at the last applied invalidation."""
    faults: list[str] = field(default_factory=list)


class Actor:
    """Makes one step after another: a command and what to do with its reply, or None for a local step."""

    steps: tuple[str, ...]

    def __init__(self, name: str, world: World) -> None:
        self.name, self.world, self.at = name, world, 0

    def step(self) -> tuple[Command, Callable[[object], None]] | None:
        name = self.steps[self.at]
        self.at += 1
        taken: tuple[Command, Callable[[object], None]] | None = getattr(self, name)()
        return taken


class Reader(Actor):
    """A miss as in `Cache`: read, acquire, fetch, fill; without a lease it fetches and stores nothing."""

    steps: tuple[str, ...] = ("read", "acquire", "fetch", "fill")
    take_over = b"0"

    def __init__(self, name: str, world: World) -> None:
        super().__init__(name, world)
        self.token = name.encode()
        self.kind = ""
        self.told = b""
        self.floor: int | None = None
        self.fetched: int | None = None

    def read(self) -> tuple[Command, Callable[[object], None]]:
        self.floor = self.world.floor
        return (b"HGET", self.world.key, b"e" + FIELD), self._found

    def acquire(self) -> tuple[Command, Callable[[object], None]] | None:
        if self.kind:
            return None
        if self.floor is None:
            self.floor = self.world.floor
        return script(
            _ACQUIRE.sha,
            self.world.key,
            FIELD,
            RUN,
            self.token,
            b"%d" % LEASE_MS,
            b"0",
            self.take_over,
            b"",
            b"",
            *LIMITS,
        ), self._granted

    def fetch(self) -> None:
        if self.kind != "hit":
            self.fetched = self.world.version

    def fill(self) -> tuple[Command, Callable[[object], None]] | None:
        if self.kind != "lease":
            return None
        tail = entry.tail(IDENTITY, b"%d" % (self.fetched or 0))
        return script(_FILL.sha, self.world.key, FIELD, RUN, self.token, LONG, b"0", b"", b"", tail), lambda _: None

    def _found(self, value: object) -> None:
        stored = version_of(value)
        if stored is not None:
            self._hit(stored)

    def _hit(self, version: int) -> None:
        self.kind = "hit"
        if version < (self.floor or 0):
            self.world.faults.append(f"{self.name} was answered with {version}, must see {self.floor}")

    def _granted(self, reply: object) -> None:
        assert isinstance(reply, list)
        kind, value, _ = reply
        if kind == b"entry":
            stored = version_of(value)
            assert stored is not None
            self._hit(stored)
        else:
            self.kind, self.told = kind.decode(), value


class NoCacheReader(Reader):
    """`cache-control: no-cache`: reads nothing, and takes the lease over."""

    steps = ("acquire", "fetch", "fill")
    take_over = b"1"


class Looker(Reader):
    """A reader that looks once."""

    steps = ("read",)


class NaiveReader(Reader):
    """A reader without leases: after a miss it stores what it fetched."""

    def acquire(self) -> None:
        self.kind = self.kind or "lease"

    def fill(self) -> tuple[Command, Callable[[object], None]] | None:
        if self.kind != "lease":
            return None
        line = b"1 %b 1 9999999999999 9999999999999 " % RUN
        value = line + entry.tail(IDENTITY, b"%d" % (self.fetched or 0))
        return (b"HSET", self.world.key, b"e" + FIELD, value), lambda _: None


class Writer(Actor):
    """Another service's write, and the event that it publishes after the commit."""

    steps: tuple[str, ...] = ("commit", "invalidate")
    window = b"0"
    intent = b""
    clear = b""

    def commit(self) -> None:
        self.world.version += 1

    def invalidate(self) -> tuple[Command, Callable[[object], None]]:
        def applied(_: object) -> None:
            self.world.floor = self.world.version

        mark = b"%b-%d" % (self.name.encode(), self.at)
        arguments = (RUN, mark, self.window, self.intent, LONG, self.clear, *LIMITS)
        return script(_INVALIDATE.sha, self.world.key, *arguments), applied


class EarlyWriter(Writer):
    """An origin that publishes before it commits; the window is still open when it does."""

    steps = ("invalidate", "commit")
    window = LONG


class NaiveWriter(Writer):
    def invalidate(self) -> tuple[Command, Callable[[object], None]]:
        _, applied = super().invalidate()
        return (b"DEL", self.world.key), applied


class OwnWriter(Writer):
    """A write through the proxy, with its intent."""

    steps = ("begin", "commit", "end")

    def begin(self) -> tuple[Command, Callable[[object], None]]:
        self.intent, self.clear = self.name.encode(), b""
        return self.invalidate()

    def end(self) -> tuple[Command, Callable[[object], None]]:
        self.intent, self.clear = b"", self.name.encode()
        return self.invalidate()


class Evictor(Actor):
    """Redis evicts the model's hash, or an operator deletes it."""

    steps = ("evict",)

    def evict(self) -> tuple[Command, Callable[[object], None]]:
        return (b"DEL", self.world.key), lambda _: None


def crashed(kind: type[Actor], after: int) -> type[Actor]:
    """An actor that is killed after this many steps."""
    return type(f"Crashed{kind.__name__}", (kind,), {"steps": kind.steps[:after]})


def script(sha: bytes, key: bytes, *arguments: bytes) -> Command:
    return (b"EVALSHA", sha, b"1", key, *arguments)


def version_of(value: object) -> int | None:
    """The version in an entry."""
    found = entry.decode(value, run_id=RUN, identity=IDENTITY)
    return None if found is None else int(found.body)


def orders(counts: tuple[int, ...], *, alike: bool) -> Iterator[tuple[int, ...]]:
    """Yields all orders of each actor's steps. `alike`: the first two actors are equal, so the first of them begins."""

    def further(left: tuple[int, ...], taken: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if not any(left):
            yield taken
        for actor, count in enumerate(left):
            if count and not (alike and actor == 1 and 0 not in taken):
                rest = (*left[:actor], count - 1, *left[actor + 1 :])
                yield from further(rest, (*taken, actor))

    return further(counts, ())


def run(redis: Redis, *kinds: type[Actor]) -> list[World]:
    """Runs all interleavings of these actors; returns the worlds at their ends, with the errors found in each."""
    worlds = []
    alike = len(kinds) > 1 and kinds[0] is kinds[1]
    for number, order in enumerate(orders(tuple(len(kind.steps) for kind in kinds), alike=alike)):
        world = World(b"world:%d" % number, order)
        world.actors = [kind(f"{kind.__name__}{at}", world) for at, kind in enumerate(kinds)]
        worlds.append(world)
    for turn in range(len(worlds[0].order)):
        steps = [world.actors[world.order[turn]].step() for world in worlds]
        execute(redis, [step for step in steps if step is not None])
    execute(redis, [((b"HGET", world.key, b"e" + FIELD), _judge(world)) for world in worlds])
    redis.delete(*[world.key for world in worlds])
    return worlds


def execute(redis: Redis, steps: list[tuple[Command, Callable[[object], None]]]) -> None:
    """Sends the commands of all worlds together, then passes each its reply."""
    pipeline = redis.pipeline(transaction=False)
    for command, _ in steps:
        pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
    for (_, take), reply in zip(steps, pipeline.execute(), strict=True):
        take(reply)


def _judge(world: World) -> Callable[[object], None]:
    """What is stored at the end equals the origin's version; readers only shared fetches that were new enough."""

    def judge(value: object) -> None:
        stored = version_of(value)
        if stored is not None and stored < world.version:
            world.faults.append(f"{stored} is stored, the origin has {world.version}")
        readers = [actor for actor in world.actors if isinstance(actor, Reader)]
        for reader in readers:
            for other in readers:
                leads = other.kind == "lease" and other.token == reader.told
                same_mark = other.kind == reader.kind == "closed" and other.told == reader.told != b""
                if (leads or same_mark) and other.fetched is not None and other.fetched < (reader.floor or 0):
                    world.faults.append(f"{reader.name} joined a fetch of {other.fetched}, must see {reader.floor}")

    return judge
