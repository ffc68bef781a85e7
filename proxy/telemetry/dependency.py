"""`Dependency`: logs once when a dependency is lost, and once when it is back, with the duration."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class State:
    """Whether a dependency can be used now."""

    up: bool
    seconds: float | None
    """For how long `up` has had its value; None before the first report."""
    reason: str = ""
    """Why the dependency cannot be used, or what is wrong with it although it can: one line without credentials."""


class Dependency:
    """The state of one dependency. Its owner reports it to `changed`, as often as it likes."""

    def __init__(self, name: str, tell: Callable[[bool], None], clock: Callable[[], float]) -> None:
        """`tell` sets the metric; `clock` returns monotonic seconds."""
        self._name = name
        self._tell = tell
        self._clock = clock
        self._lost_at: float | None = None
        self._up, self._reason = False, ""
        self._since = 0.0
        self._heard = asyncio.Event()
        tell(False)

    @property
    def state(self) -> State:
        """What was reported last."""
        return State(self._up, self._clock() - self._since if self.known else None, self._reason)

    @property
    def known(self) -> bool:
        """Whether anything has been reported yet."""
        return self._heard.is_set()

    async def first_heard(self) -> None:
        """Waits for the first report."""
        await self._heard.wait()

    def changed(self, up: bool, reason: str = "") -> None:
        """Reports that the dependency can be used (`up`), or that it cannot and why."""
        if up is not self._up or not self.known:
            self._up, self._since = up, self._clock()
        self._reason = "" if up else reason or "unreachable"
        self._heard.set()
        self._tell(up)
        fields = {"dependency": self._name}
        if not up and self._lost_at is None:
            self._lost_at = self._clock()
            log.warning("%s lost: %s", self._name, reason or "unreachable", extra=fields)
        elif up and self._lost_at is not None:
            away = self._clock() - self._lost_at
            self._lost_at = None
            log.info("%s is back after %.1f s", self._name, away, extra=fields | {"away_seconds": round(away, 1)})
