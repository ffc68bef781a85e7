"""proxy.caching.policy_problems: messages that the policy cannot interpret are counted, and logged once a minute."""

import pytest

from proxy.caching.policy_problems import PolicyProblems
from tests.support.media_methods import media_metrics

GET = "/media.MediaService/GetFilesByModel"


def test_each_is_counted_and_the_first_is_told(caplog: pytest.LogCaptureFixture) -> None:
    metrics = media_metrics()
    unclear = PolicyProblems(metrics)
    for path in (GET, GET, "/other.Service/Get"):
        unclear.met(path, "divide by zero", "a call is forwarded")
    assert [record.getMessage() for record in caplog.records] == ["a call is forwarded"] * 2
    assert caplog.records[0].__dict__["method"] == GET[1:]
    value = metrics.registry.get_sample_value
    assert value("media_cache_policy_failures_total", {"method": "GetFilesByModel"}) == 2
    assert value("media_cache_policy_failures_total", {"method": "other"}) == 1
