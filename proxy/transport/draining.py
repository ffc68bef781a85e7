"""How `DRAIN_TIME` is divided, whatever the transport.

Callers are served, on new connections too, until they have been idle for a while: an application beside us may be
draining as well. Where calls keep coming the port closes before the end, in time for the calls that are in progress:
then they are the last ones, and what begins afterwards is refused and can be made elsewhere.
"""

_SHARE, _LONGEST = 0.25, 5.0


def last_part(at_most: float) -> float:
    """Seconds of `at_most` that are for the calls in progress alone."""
    return min(_SHARE * at_most, _LONGEST)
