"""What one process reports of its writes and events, and how it treats the verdict; the record is scripted here."""

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from proxy.amqp.silence import DRAINING, GRACE, OVER, SILENT, SILENT_IN_PART, Silence
from proxy.errors import RedisUnavailableError
from proxy.store.event_record import Verdict

NOTHING = Verdict(silent=False, heard_ago=None)


@dataclass
class Record:
    """Returns scripted verdicts, and remembers what was reported."""

    verdict: Verdict = NOTHING
    id: str = ""
    away: bool = False
    told: list[dict[str, Any]] = field(default_factory=list)
    during: Any = None

    notes: dict[bytes, bool] = field(default_factory=dict)

    async def answered(self, tag: str, intent: bytes) -> bool | None:
        return self.notes.get(intent)

    async def exchange(self, *, missing: Iterable[tuple[float, float]], **rest: Any) -> Verdict:
        outcomes, readable = list(rest["outcomes"]), list(rest["readable"])
        self.told.append({**rest, "missing": list(missing), "outcomes": outcomes, "readable": readable})
        if self.during is not None:
            self.during()
        if self.away:
            raise RedisUnavailableError("away")
        return self.verdict


class Scene:
    """A silence with a clock of its own, and what it has reported."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.record = Record()
        self.changes: list[float | None] = []
        self.flushes = 0
        """How many flushes were requested."""
        self.silence = Silence(self.record, self._changed, clock=lambda: self.now)
        self.silence.listening(True)

    def _changed(self, owed: bool) -> None:
        self.changes.append(self.silence.since)
        self.flushes += owed

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
    scene.later(60.0)
    assert (await scene.exchange())["missing"] == []
    scene.silence.listening(True)
    scene.later(DRAINING / 2)
    assert (await scene.exchange())["missing"] == []
    scene.later(DRAINING / 2)
    assert (await scene.exchange())["missing"] == [(60.0 + DRAINING, 60.0 + DRAINING)] * 2


async def test_what_rabbitmq_may_have_lost_is_not_waited_for(scene: Scene) -> None:
    scene.record.notes = {b"a": True}
    scene.silence.wrote(scene.now, ("user/1",), b"a")
    scene.silence.forgive()
    scene.later(OVER + GRACE)
    told = await scene.exchange()
    assert (told["missing"], told["outcomes"]) == ([], [])


async def test_it_tells_when_the_last_ten_seconds_of_its_listening_began(scene: Scene) -> None:
    scene.later(OVER - 1)
    assert (await scene.exchange())["listened"] is None
    scene.later(1)
    assert (await scene.exchange())["listened"] == OVER
    scene.silence.listening(False)
    scene.later(30.0)
    scene.silence.listening(True)
    scene.later(4.0)
    assert (await scene.exchange())["listened"] == OVER + 30.0


async def test_interruptions_do_not_keep_it_from_noticing(scene: Scene) -> None:
    """Redis or RabbitMQ is lost every second, so there are never ten uninterrupted seconds; no event arrives."""
    scene.record.notes = {b"a": True}
    for _ in range(3):
        scene.silence.wrote(scene.now, ("user/1",), b"a")
    for _ in range(12):
        scene.silence.listening(True)
        scene.later(1.0)
        scene.silence.listening(False)
        scene.later(0.5)
    told = await scene.exchange()
    assert len(told["missing"]) == 3
    assert told["listened"] == pytest.approx(OVER + 10 * 0.5)
    assert told["outcomes"] == [True] * 3


async def test_nothing_overdue_is_trusted_though_nobody_may_say_so(scene: Scene) -> None:
    """Nothing is reported until a process has listened for long enough, but the end still leads to a flush."""
    scene.record.verdict = Verdict(silent=False, heard_ago=60.0, overdue=True)
    await scene.exchange()
    assert [scene.silence.since, scene.silence.trouble] == [scene.now - 60.0, ""]
    scene.record.verdict = Verdict(silent=True, heard_ago=60.0)
    await scene.exchange()
    assert (scene.silence.trouble, scene.flushes) == (SILENT, 0)
    scene.silence.heard()
    assert (scene.silence.since, scene.flushes) == (None, 1)


async def test_an_end_of_what_was_not_seen_means_a_flush_too(scene: Scene) -> None:
    """The process that saw it may be gone."""
    scene.silence.heard()
    scene.record.verdict = Verdict(silent=False, heard_ago=0.0, ended=True)
    await scene.exchange()
    assert (scene.silence.since, scene.flushes) == (None, 1)


async def test_an_end_that_was_seen_means_one_flush(scene: Scene) -> None:
    scene.record.verdict = Verdict(silent=True, heard_ago=60.0)
    await scene.exchange()
    scene.silence.heard()
    scene.record.verdict = Verdict(silent=False, heard_ago=0.0, ended=True)
    await scene.exchange()
    assert scene.flushes == 1


class TestWithoutAVerdict:
    """Redis does not accept the count, or not in time."""

    async def test_after_a_while_nothing_is_trusted_until_there_is_one(self, scene: Scene) -> None:
        began = scene.now
        await scene.exchange()
        scene.record.away = True
        scene.later(OVER - 1)
        await scene.exchange()
        assert scene.silence.since is None
        scene.later(1)
        await scene.exchange()
        assert [scene.silence.since, scene.silence.trouble] == [began, ""]
        scene.record.away = False
        await scene.exchange()
        assert (scene.silence.since, scene.flushes) == (None, 0)

    async def test_events_that_come_are_trusted(self, scene: Scene) -> None:
        scene.record.away = True
        for _ in range(20):
            scene.later(OVER / 2)
            scene.silence.heard()
            await scene.exchange()
            assert scene.silence.since is None
        scene.later(OVER)
        await scene.exchange()
        assert scene.silence.since is not None
        scene.silence.heard()
        assert scene.silence.since is None

    async def test_a_silence_that_only_this_process_could_know_of_means_a_flush(self, scene: Scene) -> None:
        scene.record.away = True
        for _ in range(3):
            scene.silence.wrote(scene.now)
        scene.later(OVER)
        await scene.exchange()
        scene.silence.heard()
        assert (scene.silence.since, scene.flushes) == (None, 1)
        for _ in range(3):
            scene.silence.wrote(scene.now)
        scene.later(OVER - 1)
        scene.silence.heard()
        assert scene.flushes == 1

    async def test_what_was_judged_and_read_is_told_again(self, scene: Scene) -> None:
        scene.record.notes, scene.record.away = {b"a": True}, True
        scene.silence.wrote(scene.now, ("user/1",), b"a")
        scene.silence.unreadable()
        scene.later(OVER + GRACE)
        await scene.exchange()
        scene.silence.heard()
        scene.record.away = False
        told = await scene.exchange()
        assert (told["outcomes"], told["readable"]) == ([True], [False, True])
        told = await scene.exchange()
        assert (told["outcomes"], told["readable"]) == ([], [])


@pytest.mark.parametrize(("heard_ago", "since"), [(None, -math.inf), (60.0, 940.0)])
async def test_a_silence_counts_from_the_last_event(scene: Scene, heard_ago: float | None, since: float) -> None:
    scene.record.verdict = Verdict(silent=True, heard_ago=heard_ago)
    await scene.exchange()
    scene.record.verdict = Verdict(silent=False, heard_ago=0.0)
    await scene.exchange()
    assert scene.changes == [since, since, None]  # the second is the first verdict


@pytest.mark.parametrize("heard_ago", [None, 60.0])
@pytest.mark.parametrize("lost", [None, 60.9])
async def test_a_record_that_was_lost_ends_no_silence(
    scene: Scene, heard_ago: float | None, lost: float | None
) -> None:
    """Redis was restarted or flushed, or evicted it. Another proxy may have reported again which events it had."""
    scene.record.verdict = Verdict(silent=True, heard_ago=heard_ago)
    await scene.exchange()
    since = scene.silence.since
    if heard_ago is not None or lost is None:
        scene.later(1.0)
        scene.record.verdict = Verdict(silent=False, heard_ago=lost)
        await scene.exchange()
        assert [scene.silence.since, scene.silence.trouble, scene.flushes] == [since, SILENT, 0]
    scene.record.verdict = Verdict(silent=False, heard_ago=0.5)
    await scene.exchange()
    assert [scene.silence.since, scene.silence.trouble, scene.flushes] == [None, "", 1]


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
    """Nobody knows for how long one service has been mute, and no event of another service ends it."""
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
    scene.record.verdict = Verdict(silent=False, heard_ago=0.0)
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


@pytest.mark.parametrize("how", ["silent", "forgiven", "heard again"])
async def test_writes_that_can_have_no_event_are_not_judged(scene: Scene, how: str) -> None:
    """If nobody publishes, or RabbitMQ loses the events, each write lacks its event."""
    scene.record.notes = {b"a": False, b"b": False}
    scene.silence.heard(("user/7",))
    scene.silence.wrote(scene.now, ("user/1",), b"a")
    if how == "forgiven":
        scene.silence.forgive()
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
    assert scene.silence.known  # it is known that nothing can be known
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
    silence = Silence(None, lambda owed: None)
    assert silence.known
    await silence.run()  # returns at once
    silence.listening(True)
    silence.wrote(0.0)
    silence.unreadable()
    assert silence.since is None
