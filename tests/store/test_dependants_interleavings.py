"""All interleavings with further tags: no answer is read or stored that is older than an invalidation of its tags."""

from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from tests.support.dependants_interleavings import (
    Actor,
    EarlyInvalidator,
    Evictor,
    Forgetter,
    Forgetting,
    Invalidator,
    Reader,
    Scripts,
    Step,
    World,
    orders,
    run,
)
from tests.support.servers.redis import RedisServer


@pytest.fixture
def client(redis: RedisServer) -> Iterator[Redis]:
    with Redis(port=redis.port) as client:
        yield client


def _faults(worlds: list[World]) -> list[tuple[tuple[int, ...], list[str]]]:
    return [(world.order, world.faults) for world in worlds if world.faults]


def _met(worlds: list[World]) -> set[str]:
    """All replies to readers and the fate of their answers: what never occurs is not tested."""
    readers = [actor for world in worlds for actor in world.actors if isinstance(actor, Reader)]
    vetted = {f"vetted: {reader.refusal}" for reader in readers if reader.kind == "lease"}
    return vetted | {reader.kind for reader in readers}


def test_the_orders_that_differ_are_all_there_once() -> None:
    found = list(orders([Reader, Reader, Invalidator]))
    assert len(found) == len(set(found)) == 279
    both = type("Local", (Actor,), {"steps": (("one", "A"), ("two", "A"))})
    assert list(orders([both, type("Other", (Actor,), {"steps": (("one", "B"),)})])) == [(0, 0, 1)]


_LONG = [pytest.mark.long, pytest.mark.timeout(900)]


class TestTwoReaders:
    @pytest.mark.parametrize(
        ("others", "count"),
        [
            ((Invalidator, Invalidator), 7179),
            ((Invalidator, Evictor), 1773),
            # A minute and a half on a busy machine.
            pytest.param(
                (Invalidator, Invalidator, Evictor), 53_010, marks=[pytest.mark.long, pytest.mark.timeout(900)]
            ),
        ],
        ids=["two invalidations", "and an eviction", "two and an eviction"],
    )
    def test_invalidations_and_an_eviction(self, client: Redis, others: tuple[type[Actor], ...], count: int) -> None:
        worlds = run(client, Scripts(client), Reader, Reader, *others)
        assert _faults(worlds) == []
        assert _met(worlds) == {"lease", "held", "hit", "vetted: ", "vetted: invalidated"}
        assert len(worlds) == count

    def test_an_invalidation_that_has_them_forgotten(self, client: Redis) -> None:
        assert _faults(run(client, Scripts(client), Reader, Reader, Forgetting, Evictor)) == []
        assert _faults(run(client, Scripts(client), Reader, Forgetting, Forgetting)) == []

    def test_an_event_that_was_published_before_its_commit(self, client: Redis) -> None:
        worlds = run(client, Scripts(client), Reader, Reader, EarlyInvalidator)
        assert _faults(worlds) == []
        assert "hit" in _met(worlds)

    def test_a_redis_that_forgets_what_depends_on_the_tag(self, client: Redis) -> None:
        """This is why the life of such answers is bounded. Nothing goes wrong before Redis forgets."""
        worlds = run(client, Scripts(client), Reader, Reader, Invalidator, Forgetter)
        faulty = [world for world in worlds if world.faults]
        assert faulty
        for world in faulty:
            evicted = world.order.index(3)
            steps = [world.order[:at].count(actor) for at, actor in enumerate(world.order)]
            known = [
                at
                for at, actor in enumerate(world.order)
                if (actor < 2 and steps[at] == 2) or (actor == 2 and steps[at] == 0)
            ]
            assert min(known) < evicted < max(known), "between what is told of the tag and who should have been told"


class _LooksFirst(Reader):
    """Checks the mark first, and registers only once the answer is stored."""

    steps = (("acquire", "PF"), ("fetch", "V"), ("look", "T"), ("fill", "P"), ("depend", "T"))

    def look(self) -> Step:
        if self.kind != "lease":
            return None

        def told(reply: object) -> None:
            closed_until = int(reply.split()[1]) if isinstance(reply, bytes) else 0
            self._vetted([self.world.now_ms - closed_until])

        return (b"HGET", self.world.further, b"m"), told

    def depend(self) -> Step:
        step = super().depend()
        return None if step is None else (step[0], lambda _: None)


class _Hasty(Invalidator):
    """Counts as done before the dependants are removed."""

    def _told(self, reply: object) -> None:
        super()._told(reply)
        self._counts()


class _Told(Invalidator):
    """Only gets the dependants; that is enough if there are none."""

    steps = Invalidator.steps[:1]


class _NotVetted(Reader):
    """Callers that join a flight share its answer even if it is not stored."""

    unfit = ""

    def _vetted(self, reply: object) -> None:
        super()._vetted(reply)
        self.unfit, self.refusal = self.refusal, ""

    def fill(self) -> Step:
        self.unfit, self.refusal = self.refusal, self.unfit
        step = super().fill()
        self.unfit, self.refusal = self.refusal, self.unfit
        return step


def _no_mark(source: bytes) -> bytes:
    assert b"set('m', " in source
    return source.replace(b"set('m', string.format('%.0f %.0f', shut, open))", b"")


def _forgets_all(source: bytes) -> bytes:
    condition = b"(tonumber(string.match(entered, '^(%d+) ') or '') or 0) < tonumber(ARGV[1])"
    assert condition in source
    return source.replace(condition, b"true")


class TestTheCheckerItself:
    """It detects what goes wrong without each part of the protocol."""

    @pytest.mark.parametrize(
        ("kinds", "changed"),
        [
            ((_LooksFirst, _LooksFirst, Invalidator), {}),
            ((Reader, Reader, Invalidator), {"close": _no_mark}),  # a mark that is gone too early
            ((Reader, Reader, _Hasty), {}),
            ((_NotVetted, _NotVetted, Invalidator), {}),
            ((Reader, Reader, Forgetting, _Told), {"forget": _forgets_all}),
            ((Reader, Reader, type("NoWindow", (EarlyInvalidator,), {"window": b"0"})), {}),
        ],
        ids=["entered after the look", "no mark", "confirmed too early", "not vetted", "all forgotten", "no window"],
    )
    def test_finds_what_is_wrong(
        self, client: Redis, kinds: tuple[type[Actor], ...], changed: dict[str, Callable[[bytes], bytes]]
    ) -> None:
        assert len(_faults(run(client, Scripts(client, changed), *kinds))) > 5
