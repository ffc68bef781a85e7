"""Envoy's counts under the proxy's own names."""

import re
from collections import Counter

import pytest

from proxy.envoy.outcomes import FILTER, Outcomes, read


def stat(name: str, value: int = 1) -> dict[str, object]:
    return {"name": name, "value": value}


def ended(method: str, status: str, flags: str, value: int = 1) -> dict[str, object]:
    return stat(f"callers_ended.calls.method.{method}.status.{status}.flags.{flags}", value)


@pytest.mark.parametrize(
    ("method", "status", "flags", "counted"),
    [
        ("GetFilesByModel", "OK", "-", ("GetFilesByModel", "OK")),
        ("core GetFilesByModel", "OK", "-", ("GetFilesByModel", "OK")),
        ("other", "DATA_LOSS", "-", ("other", "DATA_LOSS")),
        ("", "UNIMPLEMENTED", "NR", ("other", "UNIMPLEMENTED")),
        ("other", "", "DR", ("other", "CANCELLED")),
        ("other", "-", "DC", ("other", "CANCELLED")),
        ("other", "4711", "-", ("other", "UNKNOWN")),
        ("other", "InvalidCode", "UPE", ("other", "UNKNOWN")),
    ],
)
def test_an_ended_call_has_a_method_and_a_status_of_grpc(
    method: str, status: str, flags: str, counted: tuple[str, str]
) -> None:
    assert read([ended(method, status, flags, 3)]) == Outcomes(ended=Counter({counted: 3}))


def test_health_and_reflection_are_no_calls_of_callers() -> None:
    assert read([ended("ours", "OK", "-", 9)]) == Outcomes()


def test_what_is_above_the_limit_of_calls_is_a_refusal() -> None:
    found = read([ended("other", "RESOURCE_EXHAUSTED", "UO", 5), ended("other", "RESOURCE_EXHAUSTED", "-", 4)])
    assert found.refused == Counter(MAX_CONCURRENT_CALLS=5)
    assert found.ended == Counter({("other", "RESOURCE_EXHAUSTED"): 9})


def test_what_is_refused_before_it_is_a_call_counts_too() -> None:
    found = read(
        [
            ended("", "", "DR", 5),
            ended("other", "", "DR", 50),
            stat("listener.127.0.0.1_50066.downstream_global_cx_overflow", 7),
            stat("listener.admin.downstream_global_cx_overflow", 100),
        ]
    )
    assert found.refused == Counter(unread=5, MAX_CONNECTIONS=7)


def test_what_is_in_use_now() -> None:
    found = read(
        [
            stat("cluster.upstream.upstream_rq_active", 4),
            stat("cluster.upstream.upstream_rq_pending_active", 2),
            stat("http.callers.downstream_cx_active", 3),
        ]
    )
    assert (found.forwarded, found.connections) == (6, 3)


def test_the_filter_asks_for_these_and_no_others() -> None:
    names = ["callers_ended.calls.method.a.status.OK.flags.-", "cluster.upstream.upstream_rq_active"]
    others = ["cluster.own.upstream_rq_active", "cluster.upstream.upstream_rq_active_overflow", "http2.header_count"]
    assert [bool(re.search(FILTER, name)) for name in (*names, *others)] == [True, True, False, False, False]
