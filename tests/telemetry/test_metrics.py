"""Each metric moves when its help says, under bounded labels, and what is shown is valid for Prometheus."""

import re
from collections.abc import Callable

import pytest
from grpc import StatusCode
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from proxy import __version__
from proxy.pb import media_pb2
from proxy.telemetry.metrics import Metrics
from tests.support.media_methods import media_metrics

GET_FILES = "/media.MediaService/GetFilesByModel"
RPC = {
    "rpc_system_name": "grpc",
    "rpc_method": "media.MediaService/GetFilesByModel",
    "rpc_status_code": "OK",
    "error_type": "",
}

NAMES = {
    "rpc_server_call_duration_seconds",
    "rpc_client_call_duration_seconds",
    "media_cache_requests_total",
    "media_cache_request_duration_seconds",
    "media_cache_entry_bytes",
    "media_cache_bad_settings",
    "media_cache_fetches_in_flight",
    "media_cache_further_tags_refused_total",
    "media_cache_invalidations_total",
    "media_cache_invalidation_lag_seconds",
    "media_cache_invalidations_pending",
    "media_cache_events_missing",
    "media_cache_events_total",
    "media_cache_dependency_up",
    "media_cache_policy_failures_total",
    "media_cache_policy_refused",
    "media_cache_policy_reloads_total",
    "media_cache_shadow_differences_total",
    "media_cache_build_info",
    "media_cache_calls_total",
    "media_cache_refusals_total",
    "media_cache_limit_used",
    "media_cache_limit_max",
    "media_cache_upstream_failing",
}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def text(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


@pytest.fixture
def metrics() -> Metrics:
    return media_metrics()


def test_the_metrics_of_the_specification_are_there_each_with_one_line_of_help(metrics: Metrics) -> None:
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", text(metrics), re.MULTILINE))
    assert {name for name in helps if name.startswith(("media_cache_", "rpc_"))} == NAMES
    assert not [name for name in NAMES if re.match(r"Moves|Set |Goes", helps[name])]


@pytest.mark.parametrize(
    ("move", "name", "labels", "after"),
    [
        (
            lambda m: m.request(GET_FILES, "hit", "redis", 0.001),
            "media_cache_requests_total",
            {"method": "GetFilesByModel", "result": "hit", "tier": "redis"},
            1,
        ),
        (
            lambda m: m.request(GET_FILES, "hit", "redis", 0.25),
            "media_cache_request_duration_seconds_sum",
            {"result": "hit"},
            0.25,
        ),
        (
            lambda m: m.request(GET_FILES, "miss", "none", 0.05),
            "media_cache_request_duration_seconds_count",
            {"result": "hit"},
            0,
        ),
        (
            lambda m: m.request(GET_FILES, "bypass", "none", 0.001),
            "media_cache_requests_total",
            {"method": "GetFilesByModel", "result": "bypass", "tier": "none"},
            1,
        ),
        (lambda m: m.server_call(GET_FILES, StatusCode.OK, 0.5), "rpc_server_call_duration_seconds_sum", RPC, 0.5),
        (lambda m: m.client_call(GET_FILES, StatusCode.OK, 0.25), "rpc_client_call_duration_seconds_sum", RPC, 0.25),
        (lambda m: m.invalidation("event", 1.5), "media_cache_invalidations_total", {"source": "event"}, 1),
        (lambda m: m.invalidation("event", 1.5), "media_cache_invalidation_lag_seconds_sum", {}, 1.5),
        (lambda m: m.invalidation("event", -1.5), "media_cache_invalidation_lag_seconds_sum", {}, 0),
        (lambda m: m.invalidation("write"), "media_cache_invalidation_lag_seconds_count", {}, 0),
        (lambda m: m.invalidations_pending(3), "media_cache_invalidations_pending", {}, 3),
        (
            lambda m: m.event("deleted", "applied"),
            "media_cache_events_total",
            {"kind": "deleted", "outcome": "applied"},
            1,
        ),
        (lambda m: m.events_missing(True), "media_cache_events_missing", {}, 1),
        (lambda m: m.events_missing(False), "media_cache_events_missing", {}, 0),
        (lambda m: m.dependency("redis", up=True), "media_cache_dependency_up", {"dependency": "redis"}, 1),
        (lambda m: m.dependency("redis", up=False), "media_cache_dependency_up", {"dependency": "redis"}, 0),
        (lambda m: m.bad_settings.set(2), "media_cache_bad_settings", {}, 2),
        (lambda m: m.fetch_started(), "media_cache_fetches_in_flight", {}, 1),
        (lambda m: (m.fetch_started(), m.fetch_ended()), "media_cache_fetches_in_flight", {}, 0),
        (lambda m: m.entry_bytes(2000), "media_cache_entry_bytes_bucket", {"le": "4096.0"}, 1),
        (lambda m: m.entry_bytes(2000), "media_cache_entry_bytes_sum", {}, 2000),
        (lambda m: m.policy_problem(GET_FILES), "media_cache_policy_failures_total", {"method": "GetFilesByModel"}, 1),
        (lambda m: m.shadow_difference(), "media_cache_shadow_differences_total", {}, 1),
    ],
)
def test_it_moves_when_it_should(
    metrics: Metrics, move: Callable[[Metrics], object], name: str, labels: dict[str, str], after: float
) -> None:
    move(metrics)
    assert value(metrics, name, **labels) == after


def test_what_will_move_is_there_at_zero_and_a_dependency_only_once_it_is_named(metrics: Metrics) -> None:
    results = re.findall(r'^media_cache_requests_total{.*result="(\w+)".*} 0\.0$', text(metrics), re.MULTILINE)
    assert sorted(results) == ["bypass", "coalesced", "failure", "hit", "miss", "stale"]
    assert value(metrics, "media_cache_invalidations_total", source="event") == 0
    for outcome in ("applied", "malformed", "oversize", "retried"):
        assert value(metrics, "media_cache_events_total", kind="uploaded", outcome=outcome) == 0
    assert "media_cache_dependency_up{" not in text(metrics)


def test_each_method_of_the_proto_has_its_label_and_every_other_one_shares_one(metrics: Metrics) -> None:
    ours = [
        f"/media.MediaService/{method.name}" for method in media_pb2.DESCRIPTOR.services_by_name["MediaService"].methods
    ]
    for method in [*ours, "/a.B/C", "/media.MediaService/Nonsense", "", *(f"/made.up/{n}" for n in range(1000))]:
        metrics.server_call(method, StatusCode.OK, 0.001)
        metrics.client_call(method, StatusCode.OK, 0.001)
        metrics.request(method, "miss", "none", 0.001)
    series = re.findall(r'rpc_server_call_duration_seconds_count{.*rpc_method="([^"]+)"', text(metrics))
    assert sorted(series) == sorted([*(method.removeprefix("/") for method in ours), "_OTHER"])
    assert value(metrics, "media_cache_requests_total", method="other", result="miss", tier="none") == 1003
    assert len(metrics._server_successes) == len(metrics._client_successes) == len(ours)
    assert len(metrics._request_children) < 30


def test_a_failure_is_counted_under_its_own_code_after_any_number_of_successes(metrics: Metrics) -> None:
    for code in (StatusCode.OK, StatusCode.UNAVAILABLE, StatusCode.OK):
        metrics.server_call(GET_FILES, code, 0.001)
    labels = {**RPC, "rpc_status_code": "UNAVAILABLE", "error_type": "UNAVAILABLE"}
    assert value(metrics, "rpc_server_call_duration_seconds_count", **labels) == 1
    assert value(metrics, "rpc_server_call_duration_seconds_count", **RPC) == 2


def test_a_hit_below_5_ms_is_told_from_another(metrics: Metrics) -> None:
    for seconds in (0.0004, 0.003):
        metrics.server_call(GET_FILES, StatusCode.OK, seconds)
        metrics.request(GET_FILES, "hit", "redis", seconds)
    bounds = {"0.0005": 1, "0.001": 1, "0.005": 2}
    for bound, count in bounds.items():
        assert value(metrics, "rpc_server_call_duration_seconds_bucket", **RPC, le=bound) == count
        assert value(metrics, "media_cache_request_duration_seconds_bucket", result="hit", le=bound) == count


def test_build_and_process_are_shown(metrics: Metrics) -> None:
    assert f'version="{__version__}"' in text(metrics)
    assert (value(metrics, "process_resident_memory_bytes") or 0) > 1e6
    assert value(metrics, "python_gc_collections_total", generation="0") is not None


def test_two_processes_worth_of_metrics_do_not_meet(metrics: Metrics) -> None:
    metrics.shadow_difference()
    assert value(media_metrics(), "media_cache_shadow_differences_total") == 0


def test_what_is_shown_parses_in_both_formats_without_created_series(metrics: Metrics) -> None:
    metrics.server_call(GET_FILES, StatusCode.UNAVAILABLE, 0.1)
    metrics.dependency("redis", up=True)
    families = {family.name for family in text_string_to_metric_families(text(metrics))}
    assert {name.removesuffix("_total") for name in NAMES} <= families
    openmetrics = generate_openmetrics(metrics.registry).decode()  # type: ignore[no-untyped-call]
    assert {name.removesuffix("_total").removesuffix("_info") for name in NAMES} <= {
        family.name
        for family in parse_openmetrics(openmetrics)  # type: ignore[no-untyped-call]
    }
    assert "_created" not in text(metrics)
