"""`Dependency`: logs once when a dependency is lost, and once when it is back, with the duration."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class State:
    """Whether a dependency can be used now; for how many seconds that has been so, None: nothing was heard yet."""

    up: bool
    seconds: float | None
    reason: str = ""
    """Why it cannot, in one line without credentials; while it can: what is wrong with it all the same."""


class Dependency:
    """Heard of by its `changed`, which may be called as often as its owner likes."""

    def __init__(self, name: str, tell: Callable[[bool], None], clock: Callable[[], float]) -> None:
        """`tell` is the metric; `clock` is in seconds and only goes forward."""
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
        """What was heard last."""
        return State(self._up, self._clock() - self._since if self.known else None, self._reason)

    @property
    def known(self) -> bool:
        """Whether anything was heard yet."""
        return self._heard.is_set()

    async def first_heard(self) -> None:
        """Returns once it is known whether it is usable."""
        await self._heard.wait()

    def changed(self, up: bool, reason: str = "") -> None:
        """It is usable, or it is not and why."""
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
