"""`Dependency`: says once when something we depend on is lost, and once when it is back and how long it was away."""

import asyncio
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)


class Dependency:
    """Heard of by its `changed`, which may be called as often as its owner likes."""

    def __init__(self, name: str, tell: Callable[[bool], None], clock: Callable[[], float]) -> None:
        """`tell` is the metric; `clock` is in seconds and only goes forward."""
        self._name = name
        self._tell = tell
        self._clock = clock
        self._lost_at: float | None = None
        self._heard = asyncio.Event()
        tell(False)

    @property
    def known(self) -> bool:
        """Whether anything was heard yet."""
        return self._heard.is_set()

    async def first_heard(self) -> None:
        """Returns once it is known whether it is usable."""
        await self._heard.wait()

    def changed(self, up: bool, reason: str = "") -> None:
        """It is usable, or it is not and why."""
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
