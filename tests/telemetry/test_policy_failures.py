"""proxy.telemetry.policy_failures: methods that no policy names share a label."""

from prometheus_client import CollectorRegistry

from proxy.telemetry.policy_failures import policy_failures


def test_methods_count_by_their_labels() -> None:
    registry = CollectorRegistry()
    failed = policy_failures(registry, {"/a.B/Get": "Get", "/a.B/Invented": "other"}.__getitem__)
    for path in ("/a.B/Get", "/a.B/Get", "/a.B/Invented"):
        failed(path)
    name = "media_cache_policy_failures_total"
    found = [registry.get_sample_value(name, {"method": label}) for label in ("Get", "other")]
    assert found == [2, 1]
