"""`Placed`: where each service is for Envoy, and which of its methods the core answers.

The built-in policy's are written out, so that `serve` need not load protobuf: the interpreter inside Envoy has it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from proxy.policy.builtin import methods as media
from proxy.settings.config import Settings


class Clusters(NamedTuple):
    """The three names of one target; see `bootstrap`."""

    both: str
    first: str
    again: str


MEDIA, UPSTREAM, AGAIN = "media", "upstream", "again"
"""Of the default upstream."""
DEFAULT = Clusters(MEDIA, UPSTREAM, AGAIN)


@dataclass(frozen=True, slots=True)
class Placed:
    """One service. Methods are paths."""

    name: str
    target: str
    clusters: Clusters
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    large: frozenset[str]
    """Writes whose requests may be large."""
    labels: Mapping[str, str]
    """All of its unary methods, and what metrics call them."""


def builtin(settings: Settings) -> tuple[Placed, ...]:
    """As the built-in policy has it."""
    labels = {path: path.rpartition("/")[2] for path in media.UNARY}
    target = settings.media_service_addr
    return (Placed(media.SERVICE, target, DEFAULT, media.READS, media.WRITES, media.LARGE, labels),)


def placed(settings: Settings) -> tuple[Placed, ...]:
    """As POLICY has it; PolicyError with every mistake."""
    if not settings.policy:
        return builtin(settings)
    from proxy.policy.loading import load_policy  # noqa: PLC0415 -- see above

    policy = load_policy(settings.policy, default_upstream=settings.media_service_addr)
    clusters = {settings.media_service_addr: DEFAULT}
    found = []
    for service in policy.services.values():
        target = service.upstream or settings.media_service_addr
        number = len(clusters)
        names = clusters.setdefault(target, Clusters(*(f"{name}-{number}" for name in DEFAULT)))
        large = frozenset(path for path, write in service.writes.items() if write.large)
        reads, writes = tuple(service.reads), tuple(service.writes)
        found.append(Placed(service.name, target, names, reads, writes, large, service.labels))
    return tuple(found)
