"""proxy.telemetry.dependants_metric: answers count by what their methods are called."""

from prometheus_client import CollectorRegistry

from proxy.telemetry.dependants_metric import crowded


def test_answers_count_by_their_methods_and_limits() -> None:
    registry = CollectorRegistry()
    count = crowded(registry, lambda path: "Get" if path == "/a.B/Get" else "other")
    count("/a.B/Get", "answer")
    count("/a.B/Get", "tag")
    count("/a.B/Invented", "tag")
    name = "media_cache_further_tags_refused_total"
    wanted = (("Get", "answer"), ("Get", "tag"), ("other", "tag"), ("other", "answer"))
    assert [registry.get_sample_value(name, {"method": method, "limit": limit}) for method, limit in wanted] == [
        *(1, 1, 1),
        None,
    ]
