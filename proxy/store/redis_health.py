"""`Health`: whether a server can be used, which its owner is told, and what is ignored after an outage.

After an outage that this process noticed, entries born before its end are ignored for 2 s, so that invalidations held
by other processes arrive first.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from proxy.store.breaker import Breaker
from proxy.store.server_clock import ServerClock

_QUARANTINE = 2.0


@dataclass(slots=True)
class Health:
    """The health of one server. `changed` is called when it becomes usable, or unusable and why; `wake` makes `Pings`
    ping at once.
    """

    changed: Callable[[bool, str], None]
    wake: Callable[[], None]
    breaker: Breaker = field(default_factory=Breaker)
    clock: ServerClock = field(default_factory=ServerClock)
    _outage_seen: bool = False
    _min_born_ms: int = 0
    _quarantine_ends: float = 0.0

    def min_born_ms(self) -> int:
        """Entries born before this count as absent: milliseconds since 1970; 0 except for 2 s after an outage."""
        if self._min_born_ms and time.monotonic() >= self._quarantine_ends:
            self._min_born_ms = 0
        return self._min_born_ms

    def lost(self, reason: str) -> None:
        """The connection was lost, or could not be made."""
        self._outage_seen = True
        if self.breaker.failed(reason) or self.breaker.reason == "not connected yet":
            self.breaker.reason = reason
            self.changed(False, reason)

    def failed(self, reason: str) -> None:
        """There was no usable answer."""
        self._outage_seen = True
        if self.breaker.failed(reason):
            self.changed(False, reason)
            self.wake()

    def refused(self, reason: str) -> None:
        """The server answers but cannot be used. `changed` is called even if it was unusable for another reason."""
        self._outage_seen = True
        if self.breaker.failed(reason) or self.breaker.reason != reason:
            self.breaker.reason = reason
            self.changed(False, reason)
            self.wake()

    def answered(self, seconds: float) -> None:
        """The server answered in `seconds`."""
        if self.breaker.answered(seconds):
            self.changed(False, self.breaker.reason)
            self.wake()

    def pinged(self, seconds: float) -> None:
        """The server answered a ping in `seconds`, and can be used."""
        if not self.breaker.pinged(seconds):
            return
        now = time.monotonic()
        if self._outage_seen:
            end_ms = self.clock.now_ms(now) + self.clock.error_ms(now)  # the latest possible end of the outage
            self._outage_seen = False
            self._min_born_ms, self._quarantine_ends = math.ceil(end_ms), now + _QUARANTINE
        self.changed(True, "")
