"""proxy.telemetry.policy_reloads: what became of changes."""

from prometheus_client import CollectorRegistry

from proxy.telemetry.policy_reloads import PolicyReloads


def test_a_refusal_stands_until_the_file_can_be_used() -> None:
    registry = CollectorRegistry()
    reloads = PolicyReloads(registry)

    def seen() -> list[float | None]:
        total = "media_cache_policy_reloads_total"
        outcomes = [registry.get_sample_value(total, {"outcome": each}) for each in ("taken", "refused")]
        return [*outcomes, registry.get_sample_value("media_cache_policy_refused")]

    assert seen() == [0, 0, 0]
    reloads.refused("p.yaml:1:1: wrong")
    assert seen() == [0, 1, 1]
    reloads.taken()
    assert seen() == [1, 1, 0]
