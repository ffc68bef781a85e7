"""`AdminClient`: sends the operators' commands to a running proxy's admin server.

It uses only the standard library, so that commands start fast.
"""

import http.client
import json
from typing import Any, NoReturn
from urllib.parse import urlencode

from proxy.reasons import in_words
from proxy.settings.setting_types import bracketed, split_host_port

_TIMEOUT = 15.0
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- compared, not bound
_LARGEST_ANSWER = 16 << 20


class AdminError(Exception):
    """The proxy gave no answer or refused; the text is one line for a person."""


class NotUnderstoodError(AdminError):
    """The proxy does not understand a parameter of the request."""


class AdminClient:
    """A client of the proxy at `addr` (ADMIN_ADDR) with `token` (ADMIN_TOKEN). AdminError if `addr` is empty.

    Every request has 15 seconds, and raises AdminError when it fails.
    """

    def __init__(self, addr: str, token: str) -> None:
        if not addr:
            raise AdminError("ADMIN_ADDR is empty: this proxy has no admin server; set it, for the proxy too")
        host, self._port = split_host_port(addr)
        self._host = _WILDCARDS.get(host, host)
        self._place = f"{bracketed(self._host)}:{self._port}"
        self._token_given = bool(token)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, path: str, **parameters: str) -> dict[str, Any]:
        """The JSON object that a GET request is answered with."""
        return self._ask("GET", f"{path}?{urlencode(parameters)}" if parameters else path, b"")

    def post(self, path: str, **parameters: Any) -> dict[str, Any]:
        """The JSON object that a POST request is answered with."""
        return self._ask("POST", path, json.dumps(parameters).encode())

    def _ask(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        headers = {**self._headers, **({"Content-Type": "application/json"} if body else {})}
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT)
        try:
            connection.request(method, path, body or None, headers)
            response = connection.getresponse()
            status, text = response.status, response.read(_LARGEST_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            self._unreachable(error)
        finally:
            connection.close()
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            self._unreachable(ValueError("the server at that address is not an admin server"))
        if status == 401:
            raise AdminError(
                f"ADMIN_TOKEN: the proxy at {self._place} "
                + ("does not accept this token" if self._token_given else "requires one; set the variable to its token")
            )
        if status == 400:
            raise NotUnderstoodError(str(answer.get("error", "not understood")))
        if status >= 400:
            raise AdminError(str(answer.get("error", f"refused with status {status}")))
        return answer

    def _unreachable(self, error: Exception) -> NoReturn:
        raise AdminError(
            f"ADMIN_ADDR: cannot ask {self._place}: {in_words(error)}; is the proxy running, and with the same "
            "ADMIN_ADDR?"
        ) from error
