"""How long an answer may live: what may be stored at all, and until when its presigned URLs work.

A presigned URL is dead at signing date + expiry (AWS Signature Version 4 query parameters `X-Amz-Date` and
`X-Amz-Expires`; Google Cloud Storage V4 names them `X-Goog-…`; older schemes give `Expires` in seconds since 1970).
A margin is kept, since whoever gets the answer still has to use the URL.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

from google.protobuf.message import DecodeError

from proxy.pb.media_pb2 import GetFilesByModelResponse

_LARGEST_MARGIN = 300.0  # seconds
_MARGIN_SHARE = 0.1  # of the signed life
_DATE = "%Y%m%dT%H%M%SZ"
# strptime imports its module at its first use: now, not when no file descriptor is left to read it by.
datetime.strptime("20000101T000000Z", _DATE)  # noqa: DTZ007 -- not used
_LONGEST = 1 << 40  # seconds; a larger number is no date and no life


@dataclass(frozen=True, slots=True)
class Storable:
    """An answer that may be stored."""

    usable_until: float | None
    """Seconds since 1970, margin taken off; None: no URL in it expires."""
    usable_for: float | None
    """The shortest signed life in seconds, margin taken off: a bound that needs no common clock."""
    models: dict[int, tuple[str, int]]
    """File id to (model type as stored, model id)."""


def storable(body: bytes) -> Storable | None:
    """What a GetFilesByModel response says of its own storage; None: a failure, no such message, an unclear expiry."""
    response = GetFilesByModelResponse()
    try:
        response.ParseFromString(body)
    except DecodeError:
        return None
    if not response.success:
        return None
    until: float | None = None
    life: float | None = None
    for media in response.data.media:
        if not media.presigned_url:
            continue
        try:
            expiry = _expiry(media.presigned_url)
        except ValueError:
            return None
        if expiry is None:
            continue
        margin = min(_LARGEST_MARGIN, _MARGIN_SHARE * expiry[1]) if expiry[1] is not None else _LARGEST_MARGIN
        until = min(expiry[0] - margin, until if until is not None else expiry[0])
        if expiry[1] is not None:
            life = min(expiry[1] - margin, life if life is not None else expiry[1])
    models = {media.id: (media.model_type, media.model_id) for media in response.data.media if media.id}
    return Storable(until, life, models)


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
