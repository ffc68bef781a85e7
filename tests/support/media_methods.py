"""The media service's methods as the built-in policy has them, and keys made by it."""

from dataclasses import dataclass

from proxy.calls.call import Call, Metadata
from proxy.calls.keys import Keys, RequestKey
from proxy.calls.lifetime import TEMPORARY, Life
from proxy.calls.reads import Verdict
from proxy.policy.compiling import builtin_policy
from proxy.telemetry.metrics import Metrics

GET_FILES_BY_MODEL = "/media.MediaService/GetFilesByModel"
UPLOAD_FILE = "/media.MediaService/UploadFile"
DELETE_FILE = "/media.MediaService/DeleteFile"
POLICY = builtin_policy({"CACHE_BYPASS_PER_PAGE": 100})
READ = POLICY.reads[GET_FILES_BY_MODEL]


class MediaKeys(Keys):
    """Keys of GetFilesByModel."""

    def __init__(self, namespace: str, vary: tuple[str, ...]) -> None:
        super().__init__(namespace, vary, POLICY.reads)

    def of_request(self, body: bytes, metadata: Metadata) -> RequestKey | None:
        """The key of one GetFilesByModel request."""
        return self.of_call(Call(GET_FILES_BY_MODEL, body, metadata))


def media_metrics() -> Metrics:
    """Metrics that know the methods of the media service."""
    metrics = Metrics()
    metrics.serves(POLICY.labels, POLICY.reads)
    metrics.upstream_answers.serves({name: service.called for name, service in POLICY.services.items()})
    return metrics


def verdict(until: float | None = None, seconds: float | None = None, aliases: tuple[str, ...] = ()) -> Verdict:
    """Whether and how long an answer may be stored."""
    return Verdict(aliases, (), Life(until, seconds))


@dataclass(frozen=True, slots=True)
class Storable:
    """Whether and how long a GetFilesByModel response may be stored."""

    usable_until: float | None
    usable_for: float | None
    aliases: tuple[str, ...] = ()

    def usable_from(self, now: float) -> float | None:
        """As of its life."""
        return Life(self.usable_until, self.usable_for).usable_from(now)


def storable(body: bytes, temporary: float = TEMPORARY) -> Storable | None:
    """By the built-in policy; None: it is not to be stored."""
    found = READ.storable(b"", body, temporary)
    return Storable(found.life.until, found.life.seconds, found.aliases) if isinstance(found, Verdict) else None
