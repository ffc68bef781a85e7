"""Until when presigned URLs work, and what is left of one without its signature.

A presigned URL is dead at signing date + expiry (AWS Signature Version 4 query parameters `X-Amz-Date` and
`X-Amz-Expires`; Google Cloud Storage V4 names them `X-Goog-…`; older schemes give `Expires` in seconds since 1970).
A margin is kept, since whoever gets the answer still has to use the URL.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

_LARGEST_MARGIN = 300.0  # seconds
_MARGIN_SHARE = 0.1  # of the signed life
_DATE = "%Y%m%dT%H%M%SZ"
# strptime imports its module at its first use: now, not when no file descriptor is left to read it by.
datetime.strptime("20000101T000000Z", _DATE)  # noqa: DTZ007 -- not used
_LONGEST = 1 << 40  # seconds; a larger number is no date and no life


@dataclass(frozen=True, slots=True)
class Life:
    """How long some URLs work, margin taken off."""

    until: float | None = None
    """Seconds since 1970; None: none of them expires."""
    seconds: float | None = None
    """The shortest signed life: a bound that needs no common clock."""


UNLIMITED = Life()


def life_of(urls: Iterable[str]) -> Life:
    """How long all of them work; ValueError where that is unclear of one."""
    until: float | None = None
    life: float | None = None
    for url in urls:
        expiry = _expiry(url) if url else None
        if expiry is None:
            continue
        margin = min(_LARGEST_MARGIN, _MARGIN_SHARE * expiry[1]) if expiry[1] is not None else _LARGEST_MARGIN
        until = min(expiry[0] - margin, until if until is not None else expiry[0])
        if expiry[1] is not None:
            life = min(expiry[1] - margin, life if life is not None else expiry[1])
    return Life(until, life)


def unsigned(url: str) -> str:
    """The URL without its query: date, life and signature differ each time it is signed."""
    return url.partition("?")[0]


def _expiry(url: str) -> tuple[float, float | None] | None:
    """(dead at, signed life) in seconds, None when nothing says that the URL expires; ValueError when it is unclear."""
    query = {key.lower(): value for key, value in parse_qsl(urlsplit(url).query, keep_blank_values=True)}
    for vendor in ("x-amz-", "x-goog-"):
        date, life = query.get(f"{vendor}date"), query.get(f"{vendor}expires")
        if date is not None or life is not None:
            signed = datetime.strptime(date or "", _DATE).replace(tzinfo=UTC)
            seconds = _seconds(life or "")
            return signed.timestamp() + seconds, float(seconds)
    if "expires" in query:
        return float(_seconds(query["expires"])), None
    return None


def _seconds(text: str) -> int:
    number = int(text)
    if abs(number) > _LONGEST:
        raise ValueError(text)
    return number
