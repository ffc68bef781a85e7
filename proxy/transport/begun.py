"""`Begun`: how far a call is that was on the straight way of a hit, and goes on the long way."""

from dataclasses import dataclass


@dataclass(slots=True)
class Begun:
    """It is admitted; whoever admitted it lets it go."""

    started: float
    """When it came, by `time.perf_counter`."""
    body: object = None
    """Its request, as the transport read it; None: it has to be read."""
    looked: object = None
    """`Call.looked`."""
