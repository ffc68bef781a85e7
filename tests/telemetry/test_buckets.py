from proxy.envoy.bootstrap import BUCKETS_MS
from proxy.telemetry.buckets import CALL_SECONDS


def test_envoy_counts_into_the_same_buckets_from_a_millisecond_on() -> None:
    assert sorted(CALL_SECONDS) == list(CALL_SECONDS)
    assert [bound / 1000 for bound in BUCKETS_MS] == [bound for bound in CALL_SECONDS if bound >= 0.001]
