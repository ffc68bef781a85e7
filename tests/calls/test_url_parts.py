"""The names and values of a URL's parameters, however they are spelled."""

import base64

import pytest

from proxy.calls.url_parts import parameters, plain


@pytest.mark.parametrize(
    "url",
    [
        "https://e/x?a=1&b=2",
        "https://e/x?a=1&amp;b=2",
        "https://e/x?a=1&amp;amp;b=2",
        "https://e/x?a=1&#38;b=2",
        "https://e/x?a=1&#x26;b=2",
        "https://e/x?amp;a=1&amp;b=2",
        "https://e/x?a=1\\u0026b=2",
        "https://e/x?a=1;b=2",
        "https://e/x#a=1&b=2",
        "https://e/x#?a=1&b=2",
        "https://e/a=1&b=2/x",
        "https://e/x?%61=1&b=2",
        "https://e/x?%2561=1&b=2",
        "https://e/x?a%3D1%26b%3D2",
        "https://e/?u=https%3A%2F%2Ff%2F%3Fa%3D1%26b%3D2",
        "https://e/?u=https%253A%252F%252Ff%252F%253Fa%253D1%2526b%253D2",
        "https://e/https%3A%2F%2Ff%2F%3Fa%3D1%26b%3D2/x.jpg",
        "https://e/x%3Fa=1&b=2",
        f"https://e/{base64.urlsafe_b64encode(b'https://f/?a=1&b=2').decode()}",
        f"https://e/?u={base64.b64encode(b'https://f/?a=1&b=2').decode().rstrip('=')}",
    ],
)
def test_whatever_stands_for_an_ampersand_and_wherever_it_is(url: str) -> None:
    assert {("a", "1"), ("b", "2")} <= set(parameters(url))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://e/x?q-sign-time=1;2", ("q-sign-time", "1;2")),
        ("https://e/x?a=1%3B2", ("a", "1;2")),
        ("https://e/x?copy=1&copyright=2", ("copyright", "2")),
        ("https://e/x?a", ("a", "")),
        ("https://e/aHR0cNOTBASE64!/x?a=1", ("a", "1")),
    ],
)
def test_what_stands_for_none(url: str, expected: tuple[str, str]) -> None:
    assert expected in set(parameters(url))


def test_urls_within_urls_end_somewhere() -> None:
    url = "https://e/?a=1"
    for _ in range(50):
        url = f"https://e/?u={url}"
    assert len(list(parameters(url))) < 1000


def test_plain_text_is_decoded_until_nothing_is_left_to_decode() -> None:
    assert [plain(text) for text in ("a", "%61", "%2561", "100%", "%zz")] == ["a", "a", "a", "100%", "%zz"]
