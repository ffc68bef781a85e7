"""`Placed`: where Envoy finds each service, and which of its methods the core answers.

The methods of the built-in policy are listed in the code, so that `serve` need not load protobuf; the interpreter
inside Envoy does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from proxy.policy.builtin import methods as media
from proxy.settings.config import Settings
from proxy.settings.upstream_tls import UpstreamTls

if TYPE_CHECKING:
    import grpc

    from proxy.policy.compiled import Policy
    from proxy.policy.watched import Watched


class Clusters(NamedTuple):
    """The names of the three clusters of one target; see `bootstrap`."""

    both: str
    first: str
    again: str


MEDIA, UPSTREAM, AGAIN = "media", "upstream", "again"
"""The clusters of the default upstream."""
DEFAULT = Clusters(MEDIA, UPSTREAM, AGAIN)


@dataclass(frozen=True, slots=True)
class Placed:
    """One service. Its methods are paths, such as `/shop.Products/Get`."""

    name: str
    target: str
    tls: UpstreamTls | None
    """None means plaintext."""
    clusters: Clusters
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    large: frozenset[str]
    """Writes whose requests may be large."""
    labels: Mapping[str, str]
    """All of its unary methods, and their labels in metrics."""


def builtin(settings: Settings) -> tuple[Placed, ...]:
    """The service of the built-in policy."""
    labels = {path: path.rpartition("/")[2] for path in media.UNARY}
    where = settings.media_service_addr, UpstreamTls.of(settings)
    return (Placed(media.SERVICE, *where, DEFAULT, media.READS, media.WRITES, media.LARGE, labels),)


def placed(settings: Settings, watched: "Watched | None" = None) -> tuple[Placed, ...]:
    """The services of the policy in POLICY, whose files `watched` reads. Raises PolicyError with every mistake."""
    if not settings.policy:
        return builtin(settings)
    from proxy.policy.loading import load_policy  # noqa: PLC0415 -- see above

    def connect(upstream: str, tls: UpstreamTls | None) -> "grpc.Channel":
        from proxy.transport.credentials import reflecting  # noqa: PLC0415 -- few policies need it

        return reflecting(settings)(upstream, tls)

    found = load_policy(
        settings.policy,
        default_upstream=settings.media_service_addr,
        connect=connect,
        listen_addr=settings.listen_addr,
        watched=watched,
        transport="envoy",
    )
    return placed_by(found, settings)


def placed_by(policy: "Policy", settings: Settings) -> tuple[Placed, ...]:
    """The services of a policy. A target's clusters have the same names with all policies, so that Envoy keeps them."""
    found = []
    for service in policy.services.values():
        target, own = service.upstream or settings.media_service_addr, service.upstream_tls
        names = DEFAULT if own is None and target == settings.media_service_addr else _named(target, own)
        tls = UpstreamTls.of(settings) if own is None else own if own.on else None
        large = frozenset(path for path, write in service.writes.items() if write.large)
        reads, writes = tuple(service.reads), tuple(service.writes)
        found.append(Placed(service.name, target, tls, names, reads, writes, large, service.labels))
    return tuple(found)


def _named(target: str, own: UpstreamTls | None) -> Clusters:
    how = [own.ca, own.cert, own.key, own.server_name, str(own.on)] if own is not None else []
    number = int.from_bytes(blake2b("\0".join([target, *how]).encode(), digest_size=6).digest())
    return Clusters(*(f"{name}-{number}" for name in DEFAULT))
