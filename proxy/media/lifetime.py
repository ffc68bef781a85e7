"""How long an answer may live: what may be stored at all, and until when its presigned URLs work (`presigned.py`).

A margin is kept, since whoever gets the answer still has to use the URL.
"""

from dataclasses import dataclass

from google.protobuf.message import DecodeError

from proxy.media.presigned import End, end_of
from proxy.pb.media_pb2 import GetFilesByModelResponse

TEMPORARY = 300.0
"""How long a URL may be kept that dies with a session whose end nobody tells, in seconds, unless a setting says so."""
_LARGEST_MARGIN = 300.0  # seconds
_MARGIN_SHARE = 0.1  # of the signed life


@dataclass(frozen=True, slots=True)
class Storable:
    """An answer that may be stored."""

    usable_until: float | None
    """Seconds since 1970, margin taken off; None: no URL in it expires."""
    usable_for: float | None
    """The shortest signed life in seconds, margin taken off: a bound that needs no common clock."""
    models: dict[int, tuple[str, int]]
    """File id to (model type as stored, model id)."""

    def usable_from(self, now: float) -> float | None:
        """For how many seconds, by our own clock too, should the one that `usable_until` is compared with be behind."""
        if self.usable_until is None:
            return self.usable_for
        left = self.usable_until - now
        return left if self.usable_for is None else min(self.usable_for, left)


def storable(body: bytes, temporary: float = TEMPORARY) -> Storable | None:
    """What a GetFilesByModel response says of its own storage; None: a failure, no such message, an unclear expiry.

    `temporary`: how long a URL that was signed with temporary credentials may be kept, in seconds.
    """
    response = GetFilesByModelResponse()
    try:
        response.ParseFromString(body)
    except DecodeError:
        return None
    if not response.success:
        return None
    try:
        ends = [end_of(media.presigned_url) for media in response.data.media if media.presigned_url]
    except (ValueError, OverflowError):
        return None
    bounds = [_bounds(end, temporary) for end in ends if end is not None]
    until = min((bound[0] for bound in bounds if bound[0] is not None), default=None)
    life = min((bound[1] for bound in bounds if bound[1] is not None), default=None)
    models = {media.id: (media.model_type, media.model_id) for media in response.data.media if media.id}
    return Storable(until, life, models)


def _bounds(end: End, temporary: float) -> tuple[float | None, float | None]:
    """Usable until and usable for, margin taken off."""
    margin = min(_LARGEST_MARGIN, _MARGIN_SHARE * end.life) if end.life is not None else _LARGEST_MARGIN
    life = None if end.life is None else end.life - margin
    if end.temporary:
        life = temporary if life is None else min(life, temporary)
    return None if end.at is None else end.at - margin, life
