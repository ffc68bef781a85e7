"""What the commands print of an answer: nothing that a terminal would act on, and what operators look for first."""

from typing import Any

from proxy.admin.conditions import Conditions
from proxy.admin.lines import lookup_lines, stats_lines, table
from proxy.admin.stats import Stats
from proxy.caching.policy import Policy
from proxy.envoy.restarts import restarts
from proxy.policy.builtin.model import Model
from proxy.telemetry.callers import Use
from proxy.telemetry.invalidation_log import InvalidationLog
from proxy.telemetry.metrics import Metrics
from tests.support.media_methods import media_metrics

TITLE = "\x1b]0;owned\x07user"


def told(metrics: Metrics, log: InvalidationLog | None = None) -> dict[str, Any]:
    policy = Policy("on", 3600.0, 600.0, 0.0, 1 << 20)
    return Stats(metrics, policy, log or InvalidationLog(), Conditions({}, lambda: None)).document(None)


def test_a_models_name_sets_no_title() -> None:
    log = InvalidationLog(lambda: 5.0)
    log.invalidated(Model.of(TITLE, 1), "event", Model.of(TITLE, 1).described(TITLE))
    entry = {"field": "e", "collection": TITLE, "page": 1, "per_page": 1, "by_caller": False, "state": "fresh"}
    found = {
        "model_type": TITLE,
        "model_id": "1",
        "last_invalidation": None,
        "invalidation_pending": False,
        "entries": [{**entry, "age": 1, "ttl": 2, "bytes": 3}],
    }
    shown = "\n".join([*stats_lines(told(media_metrics(), log)), *lookup_lines(found), *table([(TITLE, "b")])])
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert shown.count("\\x1b]0;owned\\x07user") == 5


def test_stats_say_which_models_are_read_most_and_what_waits_in_the_queues() -> None:
    metrics = Metrics()
    for number in range(7):
        metrics.popular.read("user/9", cached=number > 0)
    for _ in range(2):
        metrics.popular.read(Model.of(TITLE, 1), cached=False)
    answer = told(metrics)
    answer["queues"] = [{"name": "ours-uploaded", "waiting": 1, "consumers": 2, "seconds": 12.0}]
    answer["memory_bytes"] = 80 << 20
    lines = [" ".join(line.split()) for line in stats_lines(answer)]
    assert "queue ours-uploaded 1 event waiting, 2 consumers, as of 12s ago" in lines
    assert "user 9 7 reads 85.7 % from the cache" in lines
    assert "\\x1b]0;owned\\x07user 1 2 reads 0.0 % from the cache" in lines
    assert "up 0s, 80 MiB of memory" in lines


def test_stats_say_what_callers_got_and_how_full_the_limits_are() -> None:
    metrics = media_metrics()
    metrics.callers.ended = lambda: {("GetFilesByModel", "OK"): 12, ("other", "RESOURCE_EXHAUSTED"): 188}
    metrics.callers.limited("MAX_CONCURRENT_CALLS", lambda: Use(12, 12))
    metrics.callers.limited("uploads", lambda: Use(0, 100))
    metrics.callers.refused("MAX_CONCURRENT_CALLS", "full", 188)
    lines = [" ".join(line.split()) for line in stats_lines(told(metrics))]
    assert "callers got OK 12, RESOURCE_EXHAUSTED 188" in lines
    assert "refused 188 by MAX_CONCURRENT_CALLS" in lines
    assert "in use MAX_CONCURRENT_CALLS 12 of 12" in lines


def test_a_look_up_names_some_of_what_depends_on_a_tag() -> None:
    dependants = [{"tag": f"slug/{number}", "ttl": 1.0} for number in range(12)]
    found: dict[str, Any] = {
        "tag": "product/7",
        "entries": [],
        "last_invalidation": None,
        "invalidation_pending": False,
    }
    shown = lookup_lines({**found, "dependants": dependants, "dependants_count": 120})
    assert shown[-1].endswith("slug/8, slug/9 and 110 more")
    shown = lookup_lines({**found, "dependants": [{"tag": TITLE, "ttl": 1.0}], "dependants_count": 1})
    assert shown[-1] == "an invalidation also removes what is stored under \\x1b]0;owned\\x07user"


def test_stats_say_how_far_a_flush_is_and_how_often_envoy_crashed() -> None:
    answer = told(media_metrics())
    assert not any(line.startswith(("envoy", "flush")) for line in stats_lines(answer))
    metrics = media_metrics()
    restarts(metrics.registry).inc(2)
    answer = told(metrics)
    flush = {"reason": "asked for", "services": ["shop.Products"], "seconds": 3.0, "share": 0.25, "tags": 7}
    lines = [" ".join(line.split()) for line in stats_lines({**answer, "flush": flush})]
    assert "envoy crashed and was restarted 2 times" in lines
    assert "flush shop.Products, 25 %, 7 models so far, for 3s: asked for" in lines
    lines = [" ".join(line.split()) for line in stats_lines({**answer, "flush": {**flush, "share": None}})]
    assert "flush shop.Products, waiting for 3s: asked for" in lines
