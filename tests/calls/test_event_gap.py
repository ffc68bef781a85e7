"""How long entries count while events are missing: from their fetch or from the loss, whichever is later."""

import math

import pytest

from proxy.calls.event_gap import NEVER, EventGap

NOW = 10_000.0
"""Seconds of the process' own clock; Redis' clock is another one."""
NOW_MS = 1_700_000_000_000
MINUTES = 60_000


def _gap(lost_ago: float | None, ttl: float = 60.0) -> EventGap:
    gap = EventGap(ttl, lambda: NOW)
    if lost_ago is not None:
        gap.opened(NOW - lost_ago)
    return gap


@pytest.mark.parametrize(
    ("lost_ago", "born_ago_ms", "left_ms"),
    [
        (None, 30 * MINUTES, 30 * MINUTES),  # events arrive: the TTL of an hour
        (0.0, 30 * MINUTES, MINUTES),  # events were applied until just now
        (59.0, 30 * MINUTES, 1000),
        (60.0, 30 * MINUTES, 0),
        (300.0, 10_000, 50_000),  # fetched during the gap
        (300.0, 2 * MINUTES, -MINUTES),
        (math.inf, 59_000, 1000),  # never connected: only the fetch counts
        (math.inf, 30 * MINUTES, -29 * MINUTES),
        (0.0, 60 * MINUTES - 5000, 5000),  # never longer than it would have been anyway
    ],
)
def test_how_long_an_entry_with_a_ttl_of_an_hour_counts(lost_ago: float | None, born_ago_ms: int, left_ms: int) -> None:
    born = NOW_MS - born_ago_ms
    assert _gap(lost_ago).fresh_until_ms(born, born + 60 * MINUTES, NOW_MS) == NOW_MS + left_ms


@pytest.mark.parametrize(("lost_ago", "lost_ms"), [(None, None), (5.0, NOW_MS - 5000), (math.inf, 0), (2e9, 0)])
def test_when_it_began_by_redis_clock(lost_ago: float | None, lost_ms: int | None) -> None:
    assert _gap(lost_ago).lost_ms(NOW_MS) == lost_ms


@pytest.mark.parametrize(
    ("lost_ago", "ttl", "stored"),
    [(None, 3600.0, 3600.0), (0.0, 3600.0, 60.0), (math.inf, 3600.0, 60.0), (9.0, 5.0, 5.0)],
)
def test_what_is_stored_meanwhile_has_no_longer_a_ttl(lost_ago: float | None, ttl: float, stored: float) -> None:
    assert _gap(lost_ago).stored_for(ttl) == stored


def test_it_is_open_since_its_beginning_until_it_is_closed() -> None:
    gap = _gap(5.0)
    gap.opened(NOW)
    assert gap.lost_ms(NOW_MS) == NOW_MS - 5000
    gap.closed()
    assert gap.seconds is None
    gap.opened(NEVER)
    assert gap.lost_ms(NOW_MS) == 0
