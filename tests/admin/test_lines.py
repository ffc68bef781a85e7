"""What the commands print of an answer: nothing that a terminal would act on, and what operators look for first."""

from typing import Any

from proxy.admin.lines import lookup_lines, stats_lines, table
from proxy.admin.stats import Stats
from proxy.caching.policy import Policy
from proxy.policy.builtin.model import Model
from proxy.telemetry.callers import Use
from proxy.telemetry.invalidation_log import InvalidationLog
from proxy.telemetry.metrics import Metrics
from tests.support.media_methods import media_metrics

TITLE = "\x1b]0;owned\x07user"


def told(metrics: Metrics, log: InvalidationLog | None = None) -> dict[str, Any]:
    policy = Policy("on", 3600.0, 600.0, 0.0, 1 << 20)
    return Stats(metrics, policy, log or InvalidationLog(), {}, lambda: None).document(None)


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
