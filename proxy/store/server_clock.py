"""`ServerClock`: a server's clock as measured by pings, with a bound on the error. Pure: times are passed in.

The server reads its clock at some time between the sending of a ping and the receipt of its reply, so taking the middle
is wrong by at most half of the round trip (RFC 5905, section 8). A slow ping is therefore inaccurate, and must not
replace the result of a quick one, which loses accuracy only over time, as clocks drift apart.
"""

import math

_TOLERANCE_MS = 1000.0
"""Tolerance beyond the known error, since a busy machine may read a reply late."""
_DRIFT = 0.0005
"""Seconds per second: the most by which NTP slews a clock (RFC 5905, 11.3; adjtimex), for both clocks together."""


class ServerClock:
    """The clock of one server. It is unknown at first and after `forget`; then any ping is accepted."""

    def __init__(self) -> None:
        self._offset_ms = 0.0
        self._error_ms = math.inf
        self._seen = 0.0

    def forget(self) -> None:
        """Another server may answer from now on."""
        self._error_ms = math.inf

    def now_ms(self, now: float) -> float:
        """The server's time at `now`, in milliseconds since 1970; `now` is in seconds of this process' clock."""
        return now * 1000 + self._offset_ms

    def error_ms(self, now: float) -> float:
        """The largest possible error of `now_ms`, in milliseconds."""
        return self._error_ms + max(0.0, now - self._seen) * _DRIFT * 1000

    def is_ahead(self, ms: float, now: float) -> bool:
        """Whether a time by the server's clock is certainly later than `now`, the largest error included."""
        return ms > self.now_ms(now) + self.error_ms(now) + _TOLERANCE_MS

    def pinged(self, server_ms: float, begun: float, now: float) -> float:
        """The server reported `server_ms` between `begun` and `now`. If that contradicts the known time, a clock was
        set, and the new measurement is used. Returns by how many seconds the clock was set back; 0 if it was not.
        """
        error_ms = (now - begun) / 2 * 1000
        offset_ms = server_ms - (begun + now) / 2 * 1000
        bound_ms = self.error_ms(now)
        back_ms = self._offset_ms - offset_ms - error_ms - bound_ms
        if error_ms <= bound_ms or abs(offset_ms - self._offset_ms) > error_ms + bound_ms:
            self._offset_ms, self._error_ms, self._seen = offset_ms, error_ms, now
        return back_ms / 1000 if back_ms > _TOLERANCE_MS else 0.0
