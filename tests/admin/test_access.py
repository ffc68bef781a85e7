"""Who is let in: our own addresses, our own page, the right token; nobody else's page, whatever name it goes by."""

import pytest
from multidict import CIMultiDict

from proxy.admin.access import Access


def refusal(
    *headers: tuple[str, str], addr: str = "127.0.0.1:9901", token: str = "", method: str = "GET", to_all: bool = False
) -> int:
    """The status of the refusal; 0: it is let in."""
    found = Access(addr, token).refusal(method, CIMultiDict(headers), open_to_all=to_all)
    return 0 if found is None else found.status


OURS = ("Host", "127.0.0.1:9901")


@pytest.mark.parametrize("host", ["127.0.0.1:9901", "localhost:9901", "LOCALHOST", "[::1]:9901", "127.0.0.1:18000"])
@pytest.mark.parametrize("addr", ["127.0.0.1:9901", "[::1]:9901", "0.0.0.0:9901", "localhost:9901"])
def test_loopback_by_any_of_its_names(addr: str, host: str) -> None:
    """Also on another port: somebody forwarded it."""
    assert refusal(("Host", host), addr=addr) == 0


@pytest.mark.parametrize(
    "host",
    [
        "",
        "10.0.0.1:9901",
        "evil.example",
        "evil.example:9901",
        "127.0.0.1.evil.example:9901",
        "localhost.evil.example",
        "127.0.0.1:9901@evil.example",
        "localhost:99999",
        "127.0.0.1:9901, evil.example",
        "0.0.0.0:9901",
        "[::1",
        "2130706433",
    ],
)
def test_a_foreign_host_is_refused(host: str) -> None:
    assert refusal(("Host", host)) == 403


def test_no_host_and_two_hosts_are_refused() -> None:
    assert refusal() == 403
    assert refusal(OURS, OURS) == 403


def test_on_all_interfaces_any_address_is_ours_but_no_name() -> None:
    assert refusal(("Host", "10.1.2.3:9901"), addr="0.0.0.0:9901") == 0
    assert refusal(("Host", "[2001:db8::1]:9901"), addr="[::]:9901") == 0
    assert refusal(("Host", "evil.example:9901"), addr="0.0.0.0:9901") == 403


def test_the_configured_name_is_ours() -> None:
    assert refusal(("Host", "Gateway-0:9901"), addr="gateway-0:9901") == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_our_own_page_may_ask(method: str) -> None:
    assert refusal(OURS, ("Origin", "http://127.0.0.1:9901"), ("Sec-Fetch-Site", "same-origin"), method=method) == 0
    assert refusal(OURS, ("Origin", "https://127.0.0.1:9901"), method=method) == 0


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://127.0.0.1:8080",
        "http://localhost:9901",
        "http://127.0.0.1:9901.evil.example",
        "",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_foreign_page_may_not(method: str, origin: str) -> None:
    assert refusal(OURS, ("Origin", origin), method=method) == 403


def test_an_order_from_another_site_is_refused_without_origin_too() -> None:
    for site in ("cross-site", "same-site"):
        assert refusal(OURS, ("Sec-Fetch-Site", site), method="POST") == 403
    assert refusal(OURS, ("Sec-Fetch-Site", "cross-site")) == 0  # a link to the page
    assert refusal(OURS, ("Sec-Fetch-Site", "none"), method="POST") == 0


def test_without_a_token_set_none_is_asked_for() -> None:
    assert refusal(OURS, ("Authorization", "Bearer anything")) == 0


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "secret",
        "Basic secret",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer secre",
        "Bearer secret1",
        "Bearer Secret",
        "Bearer s\udce9cret",
    ],
)
def test_with_one_set_nothing_but_it_is_good(given: str | None) -> None:
    headers = [OURS] if given is None else [OURS, ("Authorization", given)]
    assert refusal(*headers, token="secret") == 401


def test_the_right_token_is_good_however_bearer_is_spelled() -> None:
    for given in ("Bearer secret", "bearer secret", "BEARER  secret"):
        assert refusal(OURS, ("Authorization", given), token="secret") == 0


def test_what_is_open_to_all_needs_no_token_but_a_host_of_ours() -> None:
    assert refusal(OURS, token="secret", to_all=True) == 0
    assert refusal(("Host", "evil.example"), token="secret", to_all=True) == 403


def test_no_refusal_tells_the_token() -> None:
    found = Access("127.0.0.1:9901", "secret").refusal("GET", CIMultiDict([OURS]), open_to_all=False)
    assert found is not None
    assert "secret" not in found.why


@pytest.mark.parametrize(
    ("addr", "token", "exposed"),
    [
        ("127.0.0.1:1", "", False),
        ("localhost:1", "", False),
        ("[::1]:1", "", False),
        ("0.0.0.0:1", "", True),
        ("[::]:1", "", True),
        ("gateway-0:1", "", True),
        ("0.0.0.0:1", "secret", False),
    ],
)
def test_it_knows_when_anybody_could_come(addr: str, token: str, exposed: bool) -> None:
    assert Access(addr, token).exposed is exposed
