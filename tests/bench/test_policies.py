"""bench.policies: what a policy adds, and a policy large enough to show it."""

from pathlib import Path

from bench.policies import MANY, NONE, PRODUCTS, _many, added, rows, targets
from bench.start import Start
from proxy.policy.loading import load_policy


def start(seconds: float, mb: float) -> Start:
    return Start(seconds, seconds, seconds, mb, (mb,))


def test_it_adds_the_median_of_the_rounds_own_differences() -> None:
    found = {"grpcio": {NONE: [start(1, 50), start(2, 51), start(9, 50)], PRODUCTS: [], MANY: []}}
    found["grpcio"][PRODUCTS] = found["grpcio"][MANY] = [start(1.1, 60), start(2.3, 61), start(9.2, 63)]
    assert round(added(found, "grpcio", PRODUCTS, "open"), 3) == 0.2
    assert next(rows(found)) == ["grpcio: products", "200", "200", "10.0"]
    assert [target.met for target in targets(found)] == [True, True]


def test_the_large_policy_can_be_served(tmp_path: Path) -> None:
    policy = load_policy(_many(tmp_path))
    assert len(policy.reads) + len(policy.writes) == 200
