"""`Breaker`: whether a Redis node is worth asking. A pure state machine; time is passed in.

Rules:
    closed -> open    one failure (no answer in time, connection lost), or more than half of the last 32 answers slow
    open   -> closed  a background ping answered within the limit
    A failure is an *outage*: other processes' invalidations may not have arrived. Slowness is no outage.

The circuit breakers on PyPI count failures of the protected call and use that call as a probe. This one also opens on a
slow median, and only pings close it, so that no caller waits for a probe.
"""

from collections import deque

SLOW = 0.010
"""Seconds beyond which an answer is slow."""
_WINDOW = 32


class Breaker:
    """One node's. It starts open, because nothing is known about the node yet."""

    def __init__(self) -> None:
        self.closed = False
        self.reason = "not connected yet"
        self._recent: deque[bool] = deque(maxlen=_WINDOW)
        self._slow = 0

    def answered(self, seconds: float) -> bool:
        """Records an answer that took `seconds`; True if this opened the breaker."""
        recent = self._recent
        if len(recent) == _WINDOW and recent[0]:
            self._slow -= 1
        slow = seconds > SLOW
        recent.append(slow)
        if slow:
            self._slow += 1
            if self._slow * 2 > _WINDOW:
                return self._open(f"slow: more than half of the last {_WINDOW} answers took over {SLOW * 1000:g} ms")
        return False

    def failed(self, reason: str) -> bool:
        """Records that there was no usable answer; True if this opened the breaker."""
        return self._open(reason)

    def pinged(self, seconds: float) -> bool:
        """Records a background ping that was answered in `seconds`; True if this closed the breaker."""
        if self.closed or seconds > SLOW:
            return False
        self.closed = True
        self.reason = ""
        self._recent.clear()
        self._slow = 0
        return True

    def _open(self, reason: str) -> bool:
        was_closed = self.closed
        self.closed = False
        if was_closed:
            self.reason = reason
        return was_closed
