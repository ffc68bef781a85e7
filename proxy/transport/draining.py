"""`last_part`: how `DRAIN_TIME` is divided, on both transports.

Callers are served, on new connections too, until no call has come for a while, because the application may be draining
as well. If calls keep coming, the port closes early enough for the calls in progress to end. Later calls are refused,
and callers can make them elsewhere.
"""

_SHARE, _LONGEST = 0.25, 5.0


def last_part(at_most: float) -> float:
    """How many of the `at_most` seconds are reserved for calls in progress."""
    return min(_SHARE * at_most, _LONGEST)
