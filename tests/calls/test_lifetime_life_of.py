"""proxy.calls.lifetime: how long presigned URLs work."""

import pytest

from proxy.calls.lifetime import UNLIMITED, Life, life_of, unsigned

AWS = "https://s3/a?X-Amz-Date=20260101T000000Z&X-Amz-Expires={}"
BEGIN = 1767225600.0


def test_the_shortest_life_counts_with_a_margin() -> None:
    assert life_of([AWS.format(600), AWS.format(86400)]) == Life(BEGIN + 540, 540.0)
    assert life_of([AWS.format(86400)]) == Life(BEGIN + 86100, 86100.0)


def test_other_signers() -> None:
    google = "https://g/a?x-goog-date=20260101T000000Z&x-goog-expires=600"
    assert life_of([google]) == Life(BEGIN + 540, 540.0)
    assert life_of([f"https://old/a?Expires={BEGIN + 1000:.0f}"]) == Life(BEGIN + 700, None)


@pytest.mark.parametrize("urls", [[], [""], ["https://s3/a"], ["no URL at all"]])
def test_nothing_says_that_these_expire(urls: list[str]) -> None:
    assert life_of(urls) == UNLIMITED


@pytest.mark.parametrize(
    "url",
    [AWS.format("soon"), AWS.format(1 << 41), "https://s3/a?X-Amz-Expires=600", "https://s3/a?Expires=x", "http://["],
)
def test_an_unclear_expiry_is_an_error(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- any of the parsers may raise it
        life_of([url])


def test_what_differs_each_time_is_left_out() -> None:
    assert unsigned(AWS.format(600)) == "https://s3/a"
