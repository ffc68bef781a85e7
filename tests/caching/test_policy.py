"""proxy.caching.policy: what the settings let be stored and served, and the directives of `cache-control`."""

import pytest

from proxy.caching.policy import Policy, cache_control
from proxy.calls.call import Call, Metadata
from proxy.calls.entry import Entry
from proxy.calls.reads import Limits


def _policy(*, mode: str = "on", ttl: float = 60.0, if_error: float = 5.0, while_: float = 2.0) -> Policy:
    return Policy(mode, ttl, if_error, while_, 1000)


@pytest.mark.parametrize(
    ("mode", "ttl", "expected"), [("on", 1.0, False), ("shadow", 1.0, False), ("off", 1.0, True), ("on", 0.0, True)]
)
def test_when_all_is_forwarded(mode: str, ttl: float, expected: bool) -> None:
    assert _policy(mode=mode, ttl=ttl).forwards_all is expected


@pytest.mark.parametrize(
    ("now_ms", "stands_in", "revalidates"),
    [(10_000, True, True), (11_999, True, True), (12_000, True, False), (14_999, True, False), (15_000, False, False)],
)
def test_allowances_count_from_the_end_of_the_ttl(now_ms: float, stands_in: bool, revalidates: bool) -> None:
    entry = Entry(b"", born_ms=0, fresh_until_ms=10_000, stale_until_ms=100_000)
    assert _policy().stands_in(Limits(), entry, now_ms) is stands_in
    assert _policy().revalidates(Limits(), entry, now_ms) is revalidates


def test_what_the_policy_says_of_a_read_counts_instead() -> None:
    entry = Entry(b"", born_ms=0, fresh_until_ms=10_000, stale_until_ms=100_000)
    limits = Limits(stale_if_error=50.0, stale_while_revalidate=0.0, max_entry_bytes=7)
    assert _policy().stands_in(limits, entry, 59_999)
    assert not _policy().revalidates(limits, entry, 10_000)
    assert (_policy().largest(limits), _policy().largest(Limits())) == (7, 1000)


def test_no_allowance_reaches_past_a_presigned_urls_life() -> None:
    entry = Entry(b"", born_ms=0, fresh_until_ms=10_000, stale_until_ms=10_500)
    assert _policy().stands_in(Limits(), entry, 10_499)
    assert _policy().revalidates(Limits(), entry, 10_499)
    assert not _policy().stands_in(Limits(), entry, 10_500)
    assert not _policy().revalidates(Limits(), entry, 10_500)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ((), set()),
        ((("cache-control", "No-Cache"),), {"no-cache"}),
        (
            (("cache-control", "no-cache, no-store"), ("cache-control", "max-age=0")),
            {"no-cache", "no-store", "max-age=0"},
        ),
        ((("cache-control-bin", b"no-cache"), ("x", "no-store")), set()),
    ],
)
def test_directives(metadata: Metadata, expected: set[str]) -> None:
    assert cache_control(Call("/a/b", b"", metadata)) == expected
