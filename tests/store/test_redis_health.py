"""Whether a server can be used, and what is reported while it cannot be used for one reason and then for another."""

from proxy.store.redis_health import Health


def _health() -> tuple[Health, list[tuple[bool, str]], list[None]]:
    told: list[tuple[bool, str]] = []
    wakes: list[None] = []
    return Health(lambda up, reason: told.append((up, reason)), lambda: wakes.append(None)), told, wakes


def test_a_refusal_is_told_though_it_could_not_be_used_before() -> None:
    health, told, wakes = _health()
    health.lost("nobody listens")
    health.refused("MISCONF")
    health.refused("MISCONF")
    assert told == [(False, "nobody listens"), (False, "MISCONF")]
    assert len(wakes) == 1
    assert health.breaker.reason == "MISCONF"


def test_a_refusal_is_an_outage() -> None:
    health, told, _ = _health()
    health.pinged(0.001)
    assert health.min_born_ms() == 0
    health.refused("NOREPLICAS")
    assert not health.breaker.closed
    health.clock.pinged(1_000_000.0, 1.0, 1.001)
    health.pinged(0.001)
    assert health.min_born_ms() > 0
    assert [up for up, _ in told] == [True, False, True]


def test_slowness_is_none() -> None:
    health, told, _ = _health()
    health.pinged(0.001)
    for _ in range(32):
        health.answered(1.0)
    health.pinged(0.001)
    assert health.min_born_ms() == 0
    assert [up for up, _ in told] == [True, False, True]
