import pytest

from proxy.caching.policy import Policy, cache_control
from proxy.media.calls import Call, Metadata
from proxy.media.entry import Entry
from proxy.media.keys import Keys, RequestKey
from proxy.pb.media_pb2 import GetFilesByModelRequest


def _policy(
    *, mode: str = "on", ttl: float = 60.0, bypass: int = 100, if_error: float = 5.0, while_: float = 2.0
) -> Policy:
    return Policy(mode, ttl, if_error, while_, bypass, 1000)


def _key(per_page: int) -> RequestKey:
    key = Keys("media", ()).of_request(GetFilesByModelRequest(per_page=per_page).SerializeToString(), ())
    assert key is not None
    return key


@pytest.mark.parametrize(
    ("mode", "ttl", "expected"), [("on", 1.0, False), ("shadow", 1.0, False), ("off", 1.0, True), ("on", 0.0, True)]
)
def test_when_all_is_forwarded(mode: str, ttl: float, expected: bool) -> None:
    assert _policy(mode=mode, ttl=ttl).forwards_all is expected


@pytest.mark.parametrize(
    ("bypass", "per_page", "expected"),
    [(100, 99, True), (100, 100, False), (0, 100, True), (20, 0, False), (21, 0, True), (1, 1, False), (100, 0, True)],
)
def test_which_pages_are_cached(bypass: int, per_page: int, expected: bool) -> None:
    assert _policy(bypass=bypass).caches(_key(per_page)) is expected


@pytest.mark.parametrize(
    ("now_ms", "stands_in", "revalidates"),
    [(10_000, True, True), (11_999, True, True), (12_000, True, False), (14_999, True, False), (15_000, False, False)],
)
def test_allowances_count_from_the_end_of_the_ttl(now_ms: float, stands_in: bool, revalidates: bool) -> None:
    entry = Entry(b"", born_ms=0, fresh_until_ms=10_000, stale_until_ms=100_000)
    assert _policy().stands_in(entry, now_ms) is stands_in
    assert _policy().revalidates(entry, now_ms) is revalidates


def test_no_allowance_reaches_past_a_presigned_urls_life() -> None:
    entry = Entry(b"", born_ms=0, fresh_until_ms=10_000, stale_until_ms=10_500)
    assert _policy().stands_in(entry, 10_499)
    assert _policy().revalidates(entry, 10_499)
    assert not _policy().stands_in(entry, 10_500)
    assert not _policy().revalidates(entry, 10_500)


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
