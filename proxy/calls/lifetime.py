"""Until when presigned URLs work (`presigned.py`), and what is left of one without its signature.

A margin is subtracted, since the caller still has to use the URL.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from proxy.calls.presigned import End, end_of

TEMPORARY = 300.0
"""How long a URL may be kept that dies with a session whose end nobody tells, in seconds, unless a setting says so."""
_LARGEST_MARGIN = 300.0  # seconds
_MARGIN_SHARE = 0.1  # of the signed life


@dataclass(frozen=True, slots=True)
class Life:
    """How long some URLs work, margin taken off."""

    until: float | None = None
    """Seconds since 1970; None: none of them expires."""
    seconds: float | None = None
    """The shortest signed life: a bound that needs no common clock."""

    def usable_from(self, now: float) -> float | None:
        """For how many seconds, by our own clock too, should the one that `until` is compared with be behind."""
        if self.until is None:
            return self.seconds
        left = self.until - now
        return left if self.seconds is None else min(self.seconds, left)


UNLIMITED = Life()


def life_of(urls: Iterable[str], temporary: float = TEMPORARY) -> Life:
    """How long all of them work; ValueError where that is unclear of one.

    `temporary`: how long a URL that was signed with temporary credentials may be kept, in seconds.
    """
    try:
        ends = [end_of(url) for url in urls if url]
    except OverflowError:
        raise ValueError("a date beyond all calendars") from None
    bounds = [_bounds(end, temporary) for end in ends if end is not None]
    until = min((bound[0] for bound in bounds if bound[0] is not None), default=None)
    life = min((bound[1] for bound in bounds if bound[1] is not None), default=None)
    return Life(until, life)


def unsigned(url: str) -> str:
    """The URL without its query: date, life and signature differ each time it is signed."""
    return url.partition("?")[0]


def _bounds(end: End, temporary: float) -> tuple[float | None, float | None]:
    """Usable until and usable for, margin taken off."""
    margin = min(_LARGEST_MARGIN, _MARGIN_SHARE * end.life) if end.life is not None else _LARGEST_MARGIN
    life = None if end.life is None else end.life - margin
    if end.temporary:
        life = temporary if life is None else min(life, temporary)
    return None if end.at is None else end.at - margin, life
