"""The metric of Envoy's crashes."""

from prometheus_client import CollectorRegistry

from proxy.envoy.restarts import restarts


def test_it_is_there_at_zero_and_counts_what_it_is_told() -> None:
    registry = CollectorRegistry()
    counter = restarts(registry)
    assert registry.get_sample_value("media_cache_envoy_restarts_total") == 0
    counter.inc(3)
    assert registry.get_sample_value("media_cache_envoy_restarts_total") == 3
