"""`EnvoyAdmin`: queries and commands to Envoy's admin interface on a Unix socket.

https://www.envoyproxy.io/docs/envoy/latest/operations/admin
"""

import asyncio
import json
import re
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING
from urllib.parse import quote

from proxy.envoy.outcomes import FILTER, Outcomes, read
from proxy.envoy.services import AGAIN, UPSTREAM

if TYPE_CHECKING:
    import aiohttp

_LOOK_EVERY = 0.02
_ANSWER_WITHIN = 2.0
_FORWARDED = rf"^cluster\.({UPSTREAM}|{AGAIN})(-[0-9]+)?\.upstream_rq_(total|active|pending_active)$"
_NOTHING = "^$"


@dataclass(frozen=True, slots=True)
class Forwarded:
    """How many calls Envoy has forwarded without the core, and how many of them are in progress."""

    total: int
    active: int


@dataclass(frozen=True, slots=True)
class Updates:
    """How many updates of a part of its configuration Envoy has accepted and rejected since its start."""

    taken: int
    rejected: int


class EnvoyAdmin:
    """Created inside the event loop, ended by `close`. Every method but `listening` raises OSError if Envoy does not
    answer.

    aiohttp is imported only with the first query, because that takes a while.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._http: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Closes the connections."""
        if self._http is not None:
            await self._http.close()

    async def listening(self) -> int:
        """Waits until Envoy serves callers, and returns the port."""
        while True:
            try:
                ready = (await self._text("/ready")).strip() == "LIVE"
                listeners = json.loads(await self._text("/listeners?format=json")) if ready else {}
            except OSError:  # not open yet
                listeners = {}
            for listener in listeners.get("listener_statuses", ()):
                return int(listener["local_address"]["socket_address"]["port_value"])
            await asyncio.sleep(_LOOK_EVERY)

    async def forwarded(self) -> Forwarded:
        """The calls that Envoy forwards without the core."""
        values = await self._values(_FORWARDED)
        total = sum(value for name, value in values.items() if name.endswith("total"))
        return Forwarded(total, sum(values.values()) - total)

    async def ask_callers_to_leave(self) -> None:
        """Makes Envoy send a GOAWAY with the next answer on each connection. It goes on serving all calls."""
        await self._text("/healthcheck/fail", "POST")

    async def outcomes(self) -> Outcomes:
        """How calls have ended so far, and how many calls and connections are open."""
        text = await self._text(f"/stats?format=json&filter={quote(FILTER)}")
        return read(json.loads(text)["stats"])

    async def updates(self, subscription: str) -> Updates:
        """How often Envoy has read a dynamic part of its configuration, named `subscription` in the statistics."""
        values = await self._values(rf"^{re.escape(subscription)}\.update_(success|rejected)$")
        return Updates(
            values.get(f"{subscription}.update_success", 0), values.get(f"{subscription}.update_rejected", 0)
        )

    async def close_listeners(self) -> None:
        """Stops accepting connections; the open ones stay."""
        await self._text("/drain_listeners", "POST")

    async def statistics(self) -> str:
        """All statistics that have changed since the start, as Prometheus text. The first of two queries only makes
        Envoy update its histograms.
        """
        await self._text(f"/stats/prometheus?filter={_NOTHING}")
        return await self._text("/stats/prometheus?usedonly")

    async def _values(self, named: str) -> dict[str, int]:
        stats = json.loads(await self._text(f"/stats?format=json&filter={quote(named)}"))["stats"]
        return {stat["name"]: int(stat["value"]) for stat in stats}

    async def _text(self, path: str, method: str = "GET") -> str:
        aiohttp = await asyncio.to_thread(_aiohttp) if self._http is None else _aiohttp()
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=_ANSWER_WITHIN)
            connector = aiohttp.UnixConnector(self._path, limit=1)
            self._http = aiohttp.ClientSession("http://envoy", connector=connector, timeout=timeout)
        try:
            async with self._http.request(method, path, raise_for_status=True) as answer:
                return await answer.text()
        except aiohttp.ClientError as error:
            raise OSError(f"{method} {path}: {error}") from error


def _aiohttp() -> ModuleType:
    import aiohttp  # noqa: PLC0415 -- it takes a fifth of the time of all imports

    return aiohttp
