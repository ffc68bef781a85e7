"""An admin server on a core in this process, and a client that sees all of its answers."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from proxy.admin.api import Admin
from proxy.admin.conditions import Conditions, Dependencies
from proxy.settings.config import Settings
from tests.support.in_process import Process


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str]
    text: str
    json: Any


class AdminHttp:
    """A client of the server on this port."""

    def __init__(self, port: int, session: aiohttp.ClientSession) -> None:
        self.port = port
        self._session = session

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        """`options` are those of aiohttp's `request`."""
        async with self._session.request(method, f"http://127.0.0.1:{self.port}{path}", **options) as response:
            text = await response.text()
            is_json = response.content_type == "application/json" and text
            return Answer(response.status, response.headers, text, await response.json() if is_json else None)

    async def get(self, path: str, **parameters: str) -> Answer:
        return await self.ask("GET", path, params=parameters)

    async def post(self, path: str, **parameters: Any) -> Answer:
        return await self.ask("POST", path, json=parameters)


@asynccontextmanager
async def admin_of(process: Process, *, unready: str | None = None, **settings: Any) -> AsyncIterator[AdminHttp]:
    """The admin server of this process, on a free port."""
    given = Settings(**{"admin_addr": "127.0.0.1:0", **settings})
    redis = process.core.redis
    dependencies: Dependencies = {} if redis is None else {"redis": lambda: redis.state}
    sources = {"cache_ttl": "environment"}
    conditions = Conditions(dependencies, lambda: unready)
    admin = Admin(given, sources, process.core, process.metrics, conditions)
    port = await admin.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield AdminHttp(port, session)
    finally:
        await admin.stop()
