"""How `DRAIN_TIME` is divided, whatever the transport.

Callers are served, on new connections too, until they have been idle for a while: the application may be draining as
well. If calls keep coming, the port closes early enough for the calls in progress to end; later calls are refused, and
the caller can make them elsewhere.
"""

_SHARE, _LONGEST = 0.25, 5.0


def last_part(at_most: float) -> float:
    """Seconds of `at_most` that are for the calls in progress alone."""
    return min(_SHARE * at_most, _LONGEST)
