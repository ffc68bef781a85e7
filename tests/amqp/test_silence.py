"""What one process tells of its writes and events, and what it makes of the verdict; the record is scripted here."""

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from proxy.amqp.silence import GRACE, OVER, SILENT, SILENT_IN_PART, Silence
from proxy.errors import RedisUnavailableError
from proxy.store.event_record import Verdict

NOTHING = Verdict(silent=False, heard_ago=None)


@dataclass
class Record:
    """Answers what it is told to answer, and remembers what it was told."""

    verdict: Verdict = NOTHING
    id: str = ""
    away: bool = False
    told: list[dict[str, Any]] = field(default_factory=list)
    during: Any = None

    notes: dict[bytes, bool] = field(default_factory=dict)

    async def answered(self, tag: str, intent: bytes) -> bool | None:
        return self.notes.get(intent)

    async def exchange(self, *, missing: Iterable[tuple[float, float]], **rest: Any) -> Verdict:
        self.told.append({"missing": list(missing), **rest, "readable": list(rest["readable"])})
        if self.during is not None:
            self.during()
        if self.away:
            raise RedisUnavailableError("away")
        return self.verdict


class Scene:
    """A silence with a clock of its own, and what it has told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.record = Record()
        self.changes: list[float | None] = []
        self.silence = Silence(self.record, lambda: self.changes.append(self.silence.since), clock=lambda: self.now)
        self.silence.listening(True)

    async def exchange(self) -> dict[str, Any]:
        await self.silence._exchange(self.record)
        return self.record.told[-1]

    def later(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
async def scene() -> Scene:
    return Scene()


async def test_a_write_is_told_of_once_it_is_late(scene: Scene) -> None:
    began = scene.now
    scene.later(0.5)
    scene.silence.wrote(began)
    assert (await scene.exchange())["missing"] == []
    scene.later(GRACE)
    assert (await scene.exchange())["missing"] == [(GRACE + 0.5, GRACE)]
    assert (await scene.exchange())["missing"] == []


async def test_its_event_in_time_leaves_nothing_to_tell_but_that(scene: Scene) -> None:
    scene.silence.wrote(scene.now)
    scene.later(1.0)
    scene.silence.heard()
    scene.later(GRACE)
    told = await scene.exchange()
    assert (told["missing"], told["heard_ago"]) == ([], GRACE)
    assert (await scene.exchange())["heard_ago"] is None


async def test_an_event_before_the_answer_counts(scene: Scene) -> None:
    began = scene.now
    scene.later(0.1)
    scene.silence.heard()
    scene.later(0.1)
    scene.silence.wrote(began)
    scene.later(GRACE)
    assert (await scene.exchange())["missing"] == []


async def test_an_event_that_cannot_be_read_is_a_missing_one(scene: Scene) -> None:
    scene.silence.unreadable()
    scene.later(GRACE)
    assert (await scene.exchange())["missing"] == [(GRACE, GRACE)]


async def test_what_is_kept_is_bounded(scene: Scene) -> None:
    for _ in range(1000):
        scene.silence.unreadable()
        scene.silence.wrote(scene.now)
    scene.later(GRACE)
    assert len((await scene.exchange())["missing"]) == 3


async def test_while_no_events_can_come_no_write_waits_for_one(scene: Scene) -> None:
    scene.silence.wrote(scene.now)
    scene.silence.listening(False)
    scene.silence.wrote(scene.now)
    scene.later(GRACE)
    told = await scene.exchange()
    assert (told["missing"], told["judge"]) == ([], False)


async def test_it_judges_once_it_has_been_listening_for_so_long(scene: Scene) -> None:
    scene.later(OVER - 1)
    assert not (await scene.exchange())["judge"]
    scene.later(1)
    assert (await scene.exchange())["judge"]
    scene.silence.listening(False)
    scene.silence.listening(True)
    assert not (await scene.exchange())["judge"]


@pytest.mark.parametrize(("heard_ago", "since"), [(None, -math.inf), (60.0, 940.0)])
async def test_a_silence_counts_from_the_last_event(scene: Scene, heard_ago: float | None, since: float) -> None:
    scene.record.verdict = Verdict(silent=True, heard_ago=heard_ago)
    await scene.exchange()
    scene.record.verdict = NOTHING
    await scene.exchange()
    assert scene.changes == [since, since, None]  # the second: what is known at first


async def test_an_event_here_ends_it_at_once(scene: Scene) -> None:
    scene.record.verdict = Verdict(silent=True, heard_ago=None)
    await scene.exchange()
    scene.silence.heard()
    assert scene.changes[-1] is None


async def test_a_verdict_older_than_the_last_event_is_none(scene: Scene) -> None:
    scene.record.verdict = Verdict(silent=True, heard_ago=None)
    scene.record.during = scene.silence.heard
    scene.later(1.0)
    await scene.exchange()
    assert scene.silence.since is None
    scene.record.during = None
    scene.record.verdict = NOTHING
    assert (await scene.exchange())["heard_ago"] == 0.0


async def test_a_silence_in_part_makes_doubtful_whatever_is_stored(scene: Scene) -> None:
    """Nobody knows for how long the one has been mute; no event of another ends it."""
    scene.record.verdict = Verdict(silent=False, heard_ago=1.0, in_part=True)
    await scene.exchange()
    assert (scene.silence.since, scene.silence.trouble) == (-math.inf, SILENT_IN_PART)
    scene.silence.heard()
    assert scene.silence.since == -math.inf
    scene.record.verdict = Verdict(silent=True, heard_ago=60.0, in_part=True)
    scene.later(1.0)
    await scene.exchange()
    assert scene.changes[-1] == scene.now - 60.0
    assert [scene.silence.since, scene.silence.trouble] == [scene.now - 60.0, SILENT]
    scene.record.verdict = NOTHING
    await scene.exchange()
    assert [scene.silence.since, scene.silence.trouble] == [None, ""]


async def test_writes_are_judged_by_their_own_events(scene: Scene) -> None:
    scene.record.notes = {b"a": True, b"b": False}
    scene.silence.heard(("user/7",))
    scene.silence.wrote(scene.now, ("user/1",), b"a")
    scene.silence.wrote(scene.now, ("user/2",), b"b")
    scene.later(1.0)
    scene.silence.heard(("user/1",))
    scene.later(OVER + GRACE)
    told = await scene.exchange()
    assert (told["outcomes"], told["readable"]) == ([True, False], [True, True])
    scene.silence.unreadable()
    told = await scene.exchange()
    assert (told["outcomes"], told["readable"]) == ([], [False])


@pytest.mark.parametrize("how", ["silent", "deaf", "heard again"])
async def test_writes_that_can_have_no_event_are_not_judged(scene: Scene, how: str) -> None:
    """When nobody publishes, or we do not listen, each lacks its own."""
    scene.record.notes = {b"a": False, b"b": False}
    scene.silence.heard(("user/7",))
    scene.silence.wrote(scene.now, ("user/1",), b"a")
    if how == "deaf":
        scene.silence.listening(False)
        scene.silence.wrote(scene.now, ("user/1",), b"b")
        scene.silence.listening(True)
    else:
        scene.record.verdict = Verdict(silent=True, heard_ago=60.0)
        scene.later(1.0)
        await scene.exchange()
        scene.silence.wrote(scene.now, ("user/1",), b"b")
        if how == "heard again":
            scene.silence.heard()
    scene.later(OVER + GRACE)
    scene.record.verdict = Verdict(silent=False, heard_ago=0.0)
    await scene.exchange()
    scene.later(1.0)
    assert [told["outcomes"] for told in [*scene.record.told, await scene.exchange()] if told["outcomes"]] == []


async def test_what_redis_did_not_take_is_told_again(scene: Scene) -> None:
    scene.record.away = True
    scene.silence.heard()
    scene.later(1.0)
    scene.silence.unreadable()
    scene.later(GRACE)
    await scene.exchange()
    assert scene.silence.known  # that nothing can be known
    scene.record.away = False
    told = await scene.exchange()
    assert told["heard_ago"] == GRACE + 1.0
    assert told["missing"] == [(GRACE, GRACE)]


async def test_it_exchanges_at_most_once_a_second_and_without_news_every_two(scene: Scene) -> None:
    running = asyncio.create_task(scene.silence.run())
    loop = asyncio.get_running_loop()
    began = loop.time()
    while len(scene.record.told) < 3:
        scene.silence.heard()
        await asyncio.sleep(0)
    assert loop.time() - began >= 2.0
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_without_a_record_nothing_is_noticed() -> None:
    silence = Silence(None, lambda: None)
    assert silence.known
    await silence.run()  # ends at once
    silence.listening(True)
    silence.wrote(0.0)
    silence.unreadable()
    assert silence.since is None
