"""`Checker`: judges every read by the commits, events and acknowledgements before it. It knows nothing of proxies.

There is one log and one clock. Versions count the commits of one model. A read that began at tick b, ended at tick e
and was answered with version v is a violation if
    stale   v < the floor at b: the origin's version when an invalidation was requested that was acknowledged before b
    late    v < the origin's version `within` seconds before b, without the time that a fault excuses (`excused`)
    old     v < the origin's version one TTL before b, and the answer came from the cache, not from a slow fetch
    newer   v > the origin's version at e
    foreign the answer names another model, collection, page or caller than the request
    failed  it is a failure (`success = false`) of a fetch that had ended before b, so it was stored
"""

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from proxy.pb import media_pb2 as pb
from proxy.policy.builtin.model import Model

_WITHIN = (("within 10 ms", 0.010), ("within 100 ms", 0.100), ("within 1 s", 1.0))
_CLOCK_TOLERANCE = 5.0
"""Seconds by which a proxy may misjudge Redis' clock on a busy machine. TTLs under test are much longer."""
_LOG = 40
_MOST_TEXTS = 50
"""Maximum number of violations that are reported in full; all are counted."""
FAILED = "failed fetch "
"""The prefix of a failure's message, which is followed by the number of its fetch."""


def as_logged() -> str:
    """The current time in the format of the proxies' logs."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Question(Protocol):
    """What one answer is judged by."""

    @property
    def model(self) -> str:
        """The model whose versions count."""

    @property
    def how(self) -> str:
        """How it is asked, for the report."""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The caller's metadata."""

    def told(self, response: Any) -> "tuple[Question, int]":
        """The question that an answer was made for, and its version."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One GetFilesByModel request; `caller` is its `authorization`, empty if it has none."""

    model_id: int
    model_type: str = "User"
    collection: str = "avatars"
    page: int = 1
    caller: str = ""

    @property
    def model(self) -> Model:
        return Model.of(self.model_type, self.model_id)

    @property
    def how(self) -> str:
        return f"to page {self.page}"

    @property
    def request(self) -> pb.GetFilesByModelRequest:
        return pb.GetFilesByModelRequest(
            model_type=self.model_type,
            model_id=self.model_id,
            collection_name=self.collection,
            page=self.page,
            per_page=10,
        )

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", self.caller),) if self.caller else ()

    def told(self, response: Any) -> "tuple[Asked, int]":
        (media,) = response.data.media
        told = Asked(media.model_id, media.model_type, media.collection_name, media.order_column, media.name)
        return told, media.size


def stamped(asked: Asked, version: int) -> pb.GetFilesByModelResponse:
    """The origin's answer, which contains the version and the request and caller it was made for."""
    media = pb.Media(
        id=1,
        model_type=asked.model_type,
        model_id=asked.model_id,
        collection_name=asked.collection,
        name=asked.caller,
        order_column=asked.page,
        size=version,
    )
    return pb.GetFilesByModelResponse(success=True, data=pb.GetFilesByModelData(media=[media], total=1))


def failure(fetch: int) -> pb.GetFilesByModelResponse:
    """The origin's `success = false`, which names the fetch that it answers."""
    return pb.GetFilesByModelResponse(success=False, message=f"{FAILED}{fetch}")


@dataclass(slots=True)
class _History:
    """One model at the origin: when each commit was made, beginning with that of version 1."""

    version: int = 0
    floor: int = 0
    floor_before: int = 0
    """The floor when a fault began during which acknowledgements are not binding yet."""
    times: list[float] = field(default_factory=list)
    counted: list[float] = field(default_factory=list)
    """The same times by a clock that stops while a fault is excused."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A read that has begun."""

    asked: Question
    tick: int
    floor: int
    version: int
    at: float
    counted: float


class Checker:
    """Keeps the commits of each model, but only the end of the log, so a run may have any length."""

    def __init__(
        self, clock: Callable[[], float], *, longest: float | None = None, within: float | None = None
    ) -> None:
        """`clock` is in seconds; `longest` is the longest time for which an answer may be served, by that clock.
        `within` is the time after a commit from which every read must see it, acknowledged or not.
        """
        self._clock = clock
        self._longest = longest
        self._within = within
        self._stood_still = 0.0
        self._excuse: tuple[float, float] | None = None
        self._lenient_until = float("-inf")
        self._models: dict[str, _History] = {}
        self._ticks = 0
        self._latest = float("-inf")
        self._failures: dict[int, int | None] = {}
        self._log: deque[str] = deque(maxlen=_LOG)
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self.found: Counter[str] = Counter()
        """The number of violations by kind and `during`."""
        self.during = ""
        """The current fault."""
        self.first: float | None = None
        """When the first violation was found, by the clock."""

    def note(self, text: str) -> None:
        """Adds a line to the log, which explains violations."""
        self._tick(text)

    def version(self, model: str) -> int:
        return self._of(model).version

    def versions(self) -> dict[str, int]:
        """The versions of all models that were ever changed or read, which a flush that begins now covers."""
        return {model: history.version for model, history in self._models.items()}

    def commit(self, model: str) -> int:
        """The origin changed a model; returns its new version."""
        history = self._of(model)
        history.version += 1
        self._latest = max(self._latest, self._clock())  # a clock that was set back must not make a commit older
        history.times.append(self._latest)
        history.counted.append(self._counted(self._latest))
        self.counts["commits"] += 1
        self._tick(f"commit {model} v{history.version}")
        return history.version

    def applied(self, model: str, version: int, how: str) -> None:
        """An invalidation that was requested when the origin had `version` is acknowledged."""
        history = self._of(model)
        history.floor = max(history.floor, version)
        self._tick(f"{how} {model} v{version}")

    @contextmanager
    def excused(self, most: float) -> Iterator[None]:
        """A fault during which nobody can learn of commits: its time does not count, up to `most` seconds."""
        self._excuse = (self._clock(), most)
        try:
            yield
        finally:
            self._stood_still += self._excused_for(self._clock())
            self._excuse = None

    @contextmanager
    def lenient(self, seconds: float) -> Iterator[None]:
        """A fault that splits the cache: acknowledgements from now on become binding `seconds` after it is over."""
        for history in self._models.values():
            history.floor_before = history.floor
        self._lenient_until = float("inf")
        try:
            yield
        finally:
            self._lenient_until = self._clock() + seconds

    def wrong(self, what: str) -> None:
        """Records a violation."""
        self.first = self.first or self._clock()
        self.found[f"{what.partition(':')[0]}, {self.during or 'nothing broken'}"] += 1
        if len(self.violations) < _MOST_TEXTS:
            self.violations.append(what)

    def fails(self, fetch: int) -> None:
        """The origin is about to answer this fetch with a failure."""
        self._failures[fetch] = None

    def failed(self, fetch: int) -> None:
        """The fetch has failed. If a read that begins later gets this failure, it was stored."""
        self._failures[fetch] = self._tick(f"{FAILED}{fetch} ended")

    def began(self, asked: Question) -> Reading:
        history = self._of(asked.model)
        now = self._clock()
        floor = history.floor_before if now < self._lenient_until else history.floor
        tick = self._tick(f"read {asked} floor v{floor}")
        return Reading(asked, tick, floor, history.version, now, self._counted(now))

    def ended(self, reading: Reading, response: Any, how: str = "") -> None:
        """Judges an answer; `how` says where it came from."""
        self.counts["reads"] += 1
        self._tick(f"answer to {reading.tick} {how}")
        wrong = self._failure(reading, response) if not response.success else self._answer(reading, response, how)
        if wrong:
            lines = [f"{wrong}: {reading.asked} {how}", f"at {as_logged()} during {self.during}", *self._log]
            self.wrong("\n  ".join(lines))

    def _failure(self, reading: Reading, response: Any) -> str:
        self.counts["failures"] += 1
        ended = self._failures[int(response.message.removeprefix(FAILED))]
        return "" if ended is None or ended > reading.tick else f"failed: {response.message} was served again"

    def _answer(self, reading: Reading, response: Any, how: str) -> str:
        asked = reading.asked
        (told, version), history = asked.told(response), self._of(asked.model)
        if told != asked:
            return f"foreign: answered with {told}"
        if version > history.version:
            return f"newer: v{version}, the origin has v{history.version}"
        if version < reading.floor:
            return f"stale: v{version}, must be v{reading.floor} or newer"
        if self._longest is not None and how == "hit":
            least = bisect_right(history.times, reading.at - self._longest - _CLOCK_TOLERANCE)
            if version < least:
                return f"old: v{version}, more than {self._longest:g} s ago it was v{least}"
        if self._within is not None:
            least = bisect_right(history.counted, reading.counted - self._within)
            if version < least:
                seconds = reading.at - history.times[version]
                counting = f"of which more than {self._within:g} s count"
                return f"late: v{version}, v{version + 1} was committed {seconds:.1f} s before, {counting}"
        if version < reading.version:
            self._count_stale(reading.at - history.times[version])
        return ""

    def _count_stale(self, seconds: float) -> None:
        """A read did not see a commit from so long before it. Before its acknowledgement, that is no violation."""
        self.counts["stale"] += 1
        within = next((name for name, most in _WITHIN if seconds <= most), "more than 1 s")
        self.counts[f"stale {within} after the commit"] += 1

    def _excused_for(self, now: float) -> float:
        if self._excuse is None:
            return 0.0
        began, most = self._excuse
        return min(max(0.0, now - began), most)

    def _counted(self, now: float) -> float:
        return now - self._stood_still - self._excused_for(now)

    def _of(self, model: str) -> _History:
        return self._models.setdefault(model, _History())

    def _tick(self, text: str) -> int:
        self._ticks += 1
        self._log.append(f"{self._ticks} {text}")
        return self._ticks
