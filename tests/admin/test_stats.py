"""What `/stats` tells beyond the counters: mode, readiness, dependencies, and JSON all the way."""

import json

import pytest

from proxy.admin.conditions import Conditions
from proxy.admin.stats import Stats
from proxy.caching.policy import Policy
from proxy.policy.builtin.model import Model
from proxy.telemetry.dependency import State
from proxy.telemetry.invalidation_log import InvalidationLog
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.queue_depths import QueueDepths
from tests.support.media_methods import media_metrics

READ = "/media.MediaService/GetFilesByModel"


@pytest.fixture
def policy() -> Policy:
    return Policy("on", 3600.0, 600.0, 0.0, 1 << 20)


def test_a_fresh_process_tells_zeros_and_no_ratio(policy: Policy) -> None:
    told = Stats(media_metrics(), policy, InvalidationLog(), Conditions({}, lambda: "starting")).document(None)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert set(told["results"].values()) == {0}
    assert told["memory_bytes"] > 1 << 20
    assert (told["hit_ratio"], told["unready"], told["mode"], told["ttl"]) == (None, "starting", "on", 3600.0)
    assert {told["last_5_minutes"][f"{result}_{share}"] for result in ("hit", "miss") for share in ("p50", "p99")} == {
        None
    }


def test_a_mode_that_was_switched_shows_at_once(policy: Policy) -> None:
    stats = Stats(media_metrics(), policy, InvalidationLog(), Conditions({}, lambda: None))
    policy.mode = "off"
    assert stats.document(None)["mode"] == "off"


def test_dependencies_say_how_long_and_why(policy: Policy) -> None:
    states = {"redis": State(False, 3.5, "refused"), "upstream": State(True, None)}
    stats = Stats(
        media_metrics(),
        policy,
        InvalidationLog(),
        Conditions({name: lambda name=name: states[name] for name in states}, lambda: None),  # type: ignore[misc]
    )
    assert stats.document(None)["dependencies"] == {
        "redis": {"up": False, "seconds": 3.5, "reason": "refused"},
        "upstream": {"up": True, "seconds": None, "reason": ""},
    }


def test_what_happened_before_it_was_made_is_no_point_of_the_series(policy: Policy) -> None:
    metrics = media_metrics()
    metrics.request(READ, "hit", "redis", 0.001)
    stats = Stats(metrics, policy, InvalidationLog(), Conditions({}, lambda: None))
    metrics.request(READ, "miss", "none", 0.05)
    stats.series.take()
    metrics.request(READ, "miss", "none", 0.05)
    told = stats.document(0.0)
    assert told["results"]["miss"] == 2
    assert told["results"]["hit"] == 1
    assert [point["results"]["miss"] for point in told["series"]] == [1, 1]
    assert told["series"][0]["results"]["hit"] == 0


def test_an_id_beyond_what_javascript_knows_is_text(policy: Policy) -> None:
    log = InvalidationLog(lambda: 5.0)
    user = Model.of("user", 2**63 - 1)
    log.invalidated(user, "event", user.described("avatars"))
    log.flushed("asked for", 2)
    told = Stats(media_metrics(), policy, log, Conditions({}, lambda: None)).document(None)
    assert [each.pop("tag") for each in told["invalidations"]["last"]] == [None, user]
    assert [each.pop("shown") for each in told["invalidations"]["last"]] == ["everything", f"user {2**63 - 1}"]
    assert told["invalidations"]["last"] == [
        {
            "at": 5.0,
            "model_type": None,
            "model_id": None,
            "source": "flush",
            "detail": "asked for; 2 models",
        },
        {
            "at": 5.0,
            "model_type": "user",
            "model_id": str(2**63 - 1),
            "source": "event",
            "detail": "avatars",
        },
    ]


def test_the_most_read_models_are_told_with_what_the_cache_answered(policy: Policy) -> None:
    metrics = Metrics()
    for cached in (True, True, False):
        metrics.popular.read("user/7", cached=cached)
    metrics.popular.read("single", cached=False)
    told = Stats(metrics, policy, InvalidationLog(), Conditions({}, lambda: None)).document(None)["top_models"]
    assert told["models"] == [
        {"model_type": "user", "model_id": "7", "reads": 3, "cached": 2},
        {"model_type": "single", "model_id": "", "reads": 1, "cached": 0},
    ]
    assert told["seconds"] >= 0


def test_queues_are_told_as_rabbitmq_said_last(policy: Policy) -> None:
    depths = QueueDepths(iter((100.0, 101.0, 104.0)).__next__)
    stats = Stats(Metrics(), policy, InvalidationLog(), Conditions({}, lambda: None, queues=depths))
    depths.told("ours-uploaded", 12, 2)
    depths.told("ours-deleted", 0, 2)
    depths.missing("gone")
    assert stats.document(None)["queues"] == [
        {"name": "ours-deleted", "waiting": 0, "consumers": 2, "seconds": 3.0},
        {"name": "ours-uploaded", "waiting": 12, "consumers": 2, "seconds": 4.0},
    ]
