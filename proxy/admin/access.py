"""`Access`: decides from a request's headers whether the admin server answers it.

The admin server listens on loopback by default. That keeps other machines out, but not web pages that a person on this
machine opens. So there are these rules:

    Host      must be an address of the proxy: a page whose name resolves to 127.0.0.1 (DNS rebinding) sends its own
              name
    Origin    if a browser sends one, it must be that of the admin page
    token     if ADMIN_TOKEN is set, everything requires it except the page, which contains no data
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from proxy.settings.setting_types import split_host_port

_LOCAL = "localhost"
_READING = frozenset({"GET", "HEAD"})
_BEARER = "bearer "


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered: an HTTP status, and one line for a person."""

    status: int
    why: str


class Access:
    """The rules for one address (host:port). With an empty `token` none is required."""

    def __init__(self, addr: str, token: str) -> None:
        self._host = split_host_port(addr)[0].lower()
        self._any_address = _is_wildcard(self._host)
        self._token = token.encode()

    @property
    def exposed(self) -> bool:
        """Whether other machines may reach the server and need no token."""
        return not self._token and not _is_loopback(self._host)

    def refusal(self, method: str, headers: Mapping[str, str], *, open_to_all: bool) -> Refusal | None:
        """Why this request is not answered; None if it is. With `open_to_all` no token is required."""
        return self._foreign(method, headers) or (None if open_to_all else self._unauthorized(headers))

    def _foreign(self, method: str, headers: Mapping[str, str]) -> Refusal | None:
        hosts, origins = _all(headers, "Host"), _all(headers, "Origin")
        if len(hosts) != 1 or not self._ours(hosts[0]):
            return Refusal(403, f"the Host header does not name this proxy; accepted: {self._host} or localhost")
        # https too, since a proxy in front of this server may offer TLS.
        if any(origin.lower() not in {f"http://{hosts[0]}", f"https://{hosts[0]}"} for origin in origins):
            return Refusal(403, "requests from other web pages are not answered")
        if method not in _READING and headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
            return Refusal(403, "requests from other web pages are not answered")
        return None

    def _ours(self, host_port: str) -> bool:
        """Whether this names the proxy. With a wildcard address every IP address does: only names can be rebound."""
        try:
            host = split_host_port(host_port, default_port=80)[0].lower()
        except ValueError:
            return False
        if host in {_LOCAL, self._host} or _is_loopback(host):
            return True
        return self._any_address and _is_address(host)

    def _unauthorized(self, headers: Mapping[str, str]) -> Refusal | None:
        if not self._token:
            return None
        given = headers.get("Authorization", "")
        is_bearer = given[: len(_BEARER)].lower() == _BEARER
        token = given[len(_BEARER) :].strip() if is_bearer else ""
        if hmac.compare_digest(token.encode(errors="surrogateescape"), self._token):
            return None
        wrong = "the token is wrong" if token else "a token is required"
        return Refusal(401, f"{wrong}; accepted: the header Authorization: Bearer followed by ADMIN_TOKEN")


def _all(headers: Mapping[str, str], name: str) -> Sequence[str]:
    """All values of a header, in lower case: of two headers with one name, two readers may take different ones."""
    return [value.lower() for key, value in headers.items() if key.lower() == name.lower()]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == _LOCAL or (_is_address(host) and ip_address(host).is_loopback)


def _is_wildcard(host: str) -> bool:
    return _is_address(host) and ip_address(host).is_unspecified
