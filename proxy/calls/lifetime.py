"""`Life`: how long presigned URLs may be served (`presigned.py` reads when they expire), and URLs without signatures.

A margin is subtracted, since the caller still has to use the URL.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from proxy.calls.presigned import End, end_of

TEMPORARY = 300.0
"""Seconds that a URL signed with temporary credentials may be kept, since it does not say when their session ends. The
default of CACHE_TTL_TEMPORARY_CREDENTIALS."""
_LARGEST_MARGIN = 300.0  # seconds
_MARGIN_SHARE = 0.1  # as a share of the signed life


@dataclass(frozen=True, slots=True)
class Life:
    """How long some URLs may be served, after the margin."""

    until: float | None = None
    """Seconds since 1970; None if there is no such bound."""
    seconds: float | None = None
    """The shortest signed life, a bound that needs no common clock; None if there is no such bound."""

    def usable_from(self, now: float) -> float | None:
        """Seconds that they may be served from `now`, which is Unix time by this host's clock; None means forever.

        It also holds if the clock that `until` is later compared with is behind.
        """
        if self.until is None:
            return self.seconds
        left = self.until - now
        return left if self.seconds is None else min(self.seconds, left)


UNLIMITED = Life()


def life_of(urls: Iterable[str], temporary: float = TEMPORARY) -> Life:
    """How long all of these URLs may be served; raises ValueError if that is unclear for any of them.

    `temporary` is how long a URL signed with temporary credentials may be kept, in seconds.
    """
    try:
        ends = [end_of(url) for url in urls if url]
    except OverflowError:
        raise ValueError("a date beyond the calendar") from None
    bounds = [_bounds(end, temporary) for end in ends if end is not None]
    until = min((bound[0] for bound in bounds if bound[0] is not None), default=None)
    life = min((bound[1] for bound in bounds if bound[1] is not None), default=None)
    return Life(until, life)


def unsigned(url: str) -> str:
    """The URL without its query, since date, life and signature differ each time it is signed."""
    return url.partition("?")[0]


def _bounds(end: End, temporary: float) -> tuple[float | None, float | None]:
    """The time until which, and the seconds for which, a URL may be served, after the margin."""
    margin = min(_LARGEST_MARGIN, _MARGIN_SHARE * end.life) if end.life is not None else _LARGEST_MARGIN
    life = None if end.life is None else end.life - margin
    if end.temporary:
        life = temporary if life is None else min(life, temporary)
    return None if end.at is None else end.at - margin, life
