"""The targets, and whether a run meets them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.load import Sample
from bench.side_by_side import Row
from bench.subjects import ECHO, FORWARDING, ORIGIN, PLAIN_ENVOY, SHAPE

CALLERS = 8
"""Concurrent callers for which the targets are judged: a gateway that resolves one page's fields concurrently."""
HIT = 1.25
"""CPU of a hit relative to the bare echo's, at `CALLERS`."""
HIT_REACHED = 1.4
"""The gate's bound while the target is missed; `make bench ARGS=profile` shows what takes the CPU."""
FORWARDED = 1.9
"""CPU of a forwarded call relative to the bare echo's, at `CALLERS`."""
HIT_IN_ENVOY, FORWARDED_IN_ENVOY = 2.0, 1.1
"""CPU of a hit and of a forwarded call with TRANSPORT=envoy relative to plain Envoy's, at 64 callers."""


@dataclass(frozen=True, slots=True)
class Target:
    """A figure and its bound: an upper bound, unless `at_least`. None means that the figure is only reported."""

    what: str
    value: float
    bound: float | None
    unit: str = "x"
    at_least: bool = False

    @property
    def met(self) -> bool:
        if self.bound is None:
            return True
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    @property
    def verdict(self) -> str:
        """`met`, or by how much it is missed; empty without a bound."""
        if self.bound is None:
            return ""
        return "met" if self.met else f"missed by {abs(self.value / self.bound - 1):.0%}"


def of_rows(rows: Mapping[str, Row]) -> list[Target]:
    """The targets of the side-by-side run."""
    echo, shape, bare = rows[ECHO], rows[SHAPE], rows[FORWARDING]
    hit, forwarded = rows["proxy (grpcio), hit"], rows["proxy (grpcio), forwarded"]
    inside, past, plain = (rows[name] for name in ("proxy (envoy), hit", "proxy (envoy), forwarded", PLAIN_ENVOY))
    at = f"{CALLERS} callers"
    return [
        _origin(rows),
        Target(f"CPU of a hit / of the bare echo, {at}", hit.ratio(echo, CALLERS, _cpu), HIT),
        Target(
            f"for comparison: one HGET in a hit's shape / the bare echo, {at}", shape.ratio(echo, CALLERS, _cpu), None
        ),
        Target(f"CPU of a forwarded call / of the bare echo, {at}", forwarded.ratio(echo, CALLERS, _cpu), FORWARDED),
        Target(f"for comparison: bare forwarding / the bare echo, {at}", bare.ratio(echo, CALLERS, _cpu), None),
        Target("p50 of a hit / of the bare echo, 1 caller", hit.ratio(echo, 1, _p50), 1.3),
        Target("for comparison: one HGET in a hit's shape / the bare echo, 1 caller", shape.ratio(echo, 1, _p50), None),
        Target("TRANSPORT=envoy: CPU of a hit / of the bare echo, 64 callers", inside.ratio(echo, 64, _cpu), 0.33),
        Target(
            "TRANSPORT=envoy: CPU of a hit / of plain Envoy's call, 64 callers",
            inside.ratio(plain, 64, _cpu),
            HIT_IN_ENVOY,
        ),
        Target(
            "TRANSPORT=envoy: CPU of a forwarded call / of plain Envoy's",
            past.ratio(plain, 64, _cpu),
            FORWARDED_IN_ENVOY,
        ),
    ]


def _origin(rows: Mapping[str, Row]) -> Target:
    """A busy origin would make every forwarder wait and look expensive."""
    fastest = max(row.median(64, _rate) for row in rows.values() if row.server != "origin" and row.unary)
    rate = rows[ORIGIN].median(64, _rate)
    return Target(
        "calls per second of the origin / of the fastest subject, 64 callers", rate / fastest, 3, at_least=True
    )


def of_envoy(resident: float, started_in: float) -> list[Target]:
    """The targets of the proxy with TRANSPORT=envoy after its start; `resident` in MB, `started_in` in seconds."""
    return [
        Target("TRANSPORT=envoy: resident memory after start", resident, 140, "MB"),
        Target("TRANSPORT=envoy: start to serving", started_in, 2.5, "s"),
    ]


def _cpu(sample: Sample) -> float:
    return sample.cpu_us


def _rate(sample: Sample) -> float:
    return sample.rate


def _p50(sample: Sample) -> float:
    return sample.p50_us
