"""What the process tells of itself."""

from prometheus_client import CollectorRegistry

from proxy import __version__
from proxy.telemetry import process_metrics


def test_build_and_wrong_settings() -> None:
    registry = CollectorRegistry()
    process_metrics.declare(registry).set(2)
    assert registry.get_sample_value("media_cache_bad_settings") == 2
    (build,) = [sample for each in registry.collect() if each.name == "media_cache_build" for sample in each.samples]
    assert build.labels["version"] == __version__
    assert registry.get_sample_value("process_resident_memory_bytes")
