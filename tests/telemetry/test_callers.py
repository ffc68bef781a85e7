"""What callers get: refusals counted and told once a minute, how full the limits are, calls by status."""

import logging

import pytest
from grpc import StatusCode

from proxy.telemetry.callers import LIMITS, Use
from tests.support.media_methods import media_metrics

LOGGER = "proxy.telemetry.callers"


def test_each_refusal_counts_and_one_line_a_minute_names_the_limit(caplog: pytest.LogCaptureFixture) -> None:
    metrics = media_metrics()
    with caplog.at_level(logging.WARNING, LOGGER):
        for _ in range(188):
            metrics.refused("MAX_CONCURRENT_CALLS", "the proxy serves at most 12 calls at once (MAX_CONCURRENT_CALLS)")
        metrics.callers.refused("MAX_CONNECTIONS", "there are 1000 connections", 7)
    first, other = [record for record in caplog.records if record.name == LOGGER]
    assert first.getMessage() == (
        "calls refused by the proxy: the proxy serves at most 12 calls at once (MAX_CONCURRENT_CALLS)"
    )
    assert (vars(first)["limit"], vars(first)["refused"]) == ("MAX_CONCURRENT_CALLS", 1)
    assert (vars(other)["limit"], vars(other)["refused"]) == ("MAX_CONNECTIONS", 7)
    counted = {
        limit: metrics.registry.get_sample_value("media_cache_refusals_total", {"limit": limit}) for limit in LIMITS
    }
    assert counted == dict.fromkeys(LIMITS, 0) | {"MAX_CONCURRENT_CALLS": 188, "MAX_CONNECTIONS": 7}


def test_the_next_line_says_how_many_there_were_since(caplog: pytest.LogCaptureFixture) -> None:
    metrics = media_metrics()
    with caplog.at_level(logging.WARNING, LOGGER):
        for _ in range(188):
            metrics.refused("uploads", "full")
        metrics.callers._lines._clock = lambda: 1e12  # a minute later
        metrics.refused("uploads", "full")
    assert [vars(record)["refused"] for record in caplog.records if record.name == LOGGER] == [1, 188]


def test_of_two_uses_of_one_limit_the_fuller_shows() -> None:
    metrics = media_metrics()
    metrics.limited("MAX_CONCURRENT_CALLS", lambda: Use(3, 10))
    metrics.limited("MAX_CONCURRENT_CALLS", lambda: Use(5, 10))
    metrics.limited("uploads", lambda: Use(0, 100))
    assert metrics.callers.uses() == {"MAX_CONCURRENT_CALLS": Use(5, 10), "uploads": Use(0, 100)}
    value = metrics.registry.get_sample_value
    assert value("media_cache_limit_used", {"limit": "MAX_CONCURRENT_CALLS"}) == 5
    assert value("media_cache_limit_max", {"limit": "MAX_CONCURRENT_CALLS"}) == 10


def test_calls_are_counted_by_what_their_callers_got_whatever_the_method() -> None:
    metrics = media_metrics()
    metrics.server_call("/media.MediaService/GetFileURL", StatusCode.NOT_FOUND, 0.1)
    metrics.server_call("/media.MediaService/GetFilesByModel", StatusCode.OK, 0.1)
    metrics.server_call("/any.Service/Anything", StatusCode.INTERNAL, 0.1)
    value = metrics.registry.get_sample_value
    assert value("media_cache_calls_total", {"method": "GetFileURL", "status": "NOT_FOUND"}) == 1
    assert value("media_cache_calls_total", {"method": "GetFilesByModel", "status": "OK"}) == 1
    assert value("media_cache_calls_total", {"method": "other", "status": "INTERNAL"}) == 1
    assert value("media_cache_calls_total", {"method": "UploadFile", "status": "INTERNAL"}) == 0


def test_a_transport_may_count_by_itself() -> None:
    metrics = media_metrics()
    metrics.callers.ended = lambda: {("other", "UNAVAILABLE"): 4}
    metrics.server_call("/media.MediaService/GetFilesByModel", StatusCode.OK, 0.1)
    value = metrics.registry.get_sample_value
    assert value("media_cache_calls_total", {"method": "other", "status": "UNAVAILABLE"}) == 4
    assert value("media_cache_calls_total", {"method": "GetFilesByModel", "status": "OK"}) == 0
