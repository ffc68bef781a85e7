"""`Admin`: the HTTP server on `ADMIN_ADDR`, where operators see what the cache does and change a few things.

    GET  /             the page, from which everything below can be used
    GET  /stats        counts, the last hour, dependencies, the last invalidations
    GET  /config       the settings in effect and where each came from, with secrets masked
    GET  /lookup       what is stored for a tag
    GET  /stored       how many tags have something stored, and about how many bytes
    GET  /explain      why a call would be a hit, a miss or a bypass; also POST, for metadata that must not be in a URL
    POST /invalidate   deletes everything stored for a tag
    POST /flush        deletes everything stored, or everything stored for a service
    POST /log-level    switches the log level: debug, info, warning, error
    POST /mode         switches the mode: on, off, shadow

Answers are JSON; an error is one line under `error`. No call has to wait for this server: requests to Redis are bounded
and made one at a time, and an exception only leads to status 500 for the operator.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from aiohttp import hdrs, web

from proxy.admin import flushing, requests
from proxy.admin.access import Access, Refusal
from proxy.admin.conditions import Conditions
from proxy.admin.explain import Explainer, Upstream
from proxy.admin.page import PAGE, POLICY
from proxy.admin.requests import BadRequestError
from proxy.admin.stats import Stats
from proxy.core import Core
from proxy.errors import RedisUnavailableError
from proxy.printable import printable_json
from proxy.service_states import ServiceStates
from proxy.settings import otel
from proxy.settings.config import Settings
from proxy.store.redis_census import census
from proxy.store.relations import looked_up
from proxy.telemetry import log
from proxy.telemetry.dependency import State
from proxy.telemetry.http_listener import LARGEST_BODY, HttpListener
from proxy.telemetry.metrics import Metrics

_logger = logging.getLogger(__name__)

_READ = ("GET", "HEAD")
_UNHEARD = State(up=True, seconds=None)
_CONFIRM_WITHIN = 3.0
"""Seconds that Redis has to confirm an invalidation before the answer says that it is kept and retried."""
_BODY_WITHIN = 5.0
_COUNT_WITHIN = 5.0
_MOST_WAITING = 100
_HEADERS = {
    hdrs.CACHE_CONTROL: "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Given = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Route:
    methods: tuple[str, ...]
    answer: Callable[[Given], Awaitable[tuple[int, object]]]


async def _nothing(_: Given) -> tuple[int, object]:
    return 200, None


_PAGE_ROUTE = _Route(_READ, _nothing)


class Admin:
    """Must be made inside the event loop. Each handler takes parameters and returns the status and the JSON value."""

    def __init__(
        self,
        settings: Settings,
        sources: Mapping[str, str],
        core: Core,
        metrics: Metrics,
        conditions: Conditions,
    ) -> None:
        self._settings = settings
        self._sources = sources
        self._core = core
        self._metrics = metrics
        self._services = conditions.services or ServiceStates(core, metrics.upstream_answers, lambda: _UNHEARD)
        self._policy = core.cache.policy
        self._log_level = settings.log_level
        self._stats = Stats(metrics, self._policy, core.recent, conditions)
        self._access = Access(settings.admin_addr, settings.admin_token)
        self._listener = HttpListener("ADMIN_ADDR", settings.admin_addr, self._answer)
        self._looking = asyncio.Lock()
        self._waiting: set[asyncio.Task[None]] = set()
        self._sampling: asyncio.Task[None] | None = None
        self._routes = {
            "/stats": _Route(_READ, self._show_stats),
            "/config": _Route(_READ, self._show_config),
            "/lookup": _Route(_READ, self._look_up),
            "/stored": _Route(_READ, self._count_stored),
            "/explain": _Route((*_READ, "POST"), self._explain),
            "/invalidate": _Route(("POST",), self._invalidate),
            "/flush": _Route(("POST",), self._flush),
            "/log-level": _Route(("POST",), self._set_log_level),
            "/mode": _Route(("POST",), self._set_mode),
        }

    async def start(self) -> int:
        """Begins to listen and to record the last hour, and returns the port; StartError when it cannot listen."""
        port = await self._listener.start()
        if self._access.exposed:
            _logger.warning("other machines may reach ADMIN_ADDR and purge the cache; set ADMIN_TOKEN")
        self._sampling = asyncio.create_task(self._stats.series.run(), name="admin series")
        self._sampling.add_done_callback(_ended)
        return port

    async def stop(self) -> None:
        """Stops listening. `Invalidations` keeps those that Redis has not confirmed yet."""
        await self._listener.stop()
        tasks = [*self._waiting, *([self._sampling] if self._sampling is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        refusal = self._access.refusal(request.method, request.headers, open_to_all=request.path == "/")
        if refusal is not None:
            return _refused(refusal)
        route = _PAGE_ROUTE if request.path == "/" else self._routes.get(request.path)
        if route is None:
            return _error(404, f"not found; accepted: {', '.join(('/', *self._routes))}")
        if request.method not in route.methods:
            return _not_allowed(route.methods)
        return _page() if route is _PAGE_ROUTE else await self._served(route, request)

    async def _served(self, route: _Route, request: web.BaseRequest) -> web.Response:
        try:
            async with asyncio.timeout(_BODY_WITHIN):
                body = await request.read()
        except TimeoutError:
            return _error(408, f"the body did not arrive within {_BODY_WITHIN:g} s")
        except web.HTTPRequestEntityTooLarge:
            return _error(413, f"the body is too large; accepted: at most {LARGEST_BODY} bytes")
        try:
            return _json(*await route.answer(requests.parameters(request.query, body, request.content_type)))
        except BadRequestError as error:
            return _error(400, str(error))
        except RedisUnavailableError as error:
            return _error(503, f"Redis cannot be asked now: {error}")

    async def _show_stats(self, given: Given) -> tuple[int, object]:
        document = self._stats.document(requests.seconds(given, "since"), flushing.told(self._core))
        return 200, {**document, "log_level": self._log_level}

    async def _show_config(self, _: Given) -> tuple[int, object]:
        texts = self._settings.shown()
        shown = {
            name.upper(): {"value": text, "source": self._sources.get(name, "default")} for name, text in texts.items()
        }
        for name, now in (("CACHE_MODE", self._policy.mode), ("LOG_LEVEL", self._log_level)):
            if shown[name]["value"] != now:
                shown[name] = {"value": now, "source": "admin"}
        shown |= {name: {"value": text, "source": source} for name, (text, source) in otel.shown().items()}
        return 200, shown

    async def _look_up(self, given: Given) -> tuple[int, object]:
        named = requests.named(given)
        last = self._core.recent.last_of(named.tag)
        told: dict[str, object] = {
            **named.shown,
            "last_invalidation": None
            if last is None
            else {"at": last.at, "source": last.source, "detail": last.detail},
            "invalidation_pending": self._core.invalidations.held_back(named.tag),
        }
        core, store = self._core, self._core.store
        if store is None:
            return 200, {**told, "tier": None, "entries": [], "problem": "REDIS_ADDR is empty: there is no cache"}
        async with self._looking:
            stored = await looked_up(store.topology, core.keys, named.tag, core.gap, core.policy.reads)
        return 200, {**told, "tier": "redis", **asdict(stored)}

    async def _count_stored(self, _: Given) -> tuple[int, object]:
        if self._core.store is None:
            return 200, {"models": 0, "bytes": None, "complete": True}
        async with self._looking:
            return 200, asdict(await census(self._core.store.topology, self._core.keys.tag_pattern, _COUNT_WITHIN))

    async def _explain(self, given: Given) -> tuple[int, object]:
        asked = requests.asked(given, self._core.policy.reads)
        async with self._looking:
            explanation = await self._explainer().explain(asked)
        return 200, {"request": asked.shown, **asdict(explanation)}

    def _explainer(self) -> Explainer:
        """An explainer for the current policy."""
        core = self._core
        return Explainer(
            core.store,
            core.keys,
            self._policy,
            core.invalidations,
            core.recent,
            self._redis_trouble,
            self._upstream,
            core.policy.reads,
        )

    async def _invalidate(self, given: Given) -> tuple[int, object]:
        named = requests.named(given)
        _logger.info("invalidation asked for", extra=named.logged)
        asking = self._core.invalidations.invalidate_all(named.tags, source="admin", about=named.about)
        return await self._confirmed(asking, named.shown)

    async def _flush(self, given: Given) -> tuple[int, object]:
        service = requests.service(given, self._core.policy.services)
        named = {"service": service} if service else {}
        _logger.info("flush asked for", extra=named)
        asking = self._core.invalidations.flush("asked for by an operator", source="admin", service=service)
        return await self._confirmed(asking, named)

    async def _confirmed(self, asking: Any, told: Mapping[str, object]) -> tuple[int, object]:
        """200 once Redis has confirmed; 202 if that takes longer: then it is retried, and reads bypass the cache."""
        if len(self._waiting) >= _MOST_WAITING:
            asking.close()
            return 503, {"error": f"{_MOST_WAITING} invalidations are waiting for Redis; try again when it is back"}
        task = asyncio.create_task(asking, name="admin invalidation")
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)
        done, _ = await asyncio.wait({task}, timeout=_CONFIRM_WITHIN)
        if done:
            task.result()
            return 200, {**told, "done": True}
        note = flushing.note(self._core, self._redis_trouble())
        return 202, {**told, "done": False, "note": note}

    async def _set_log_level(self, given: Given) -> tuple[int, object]:
        level = requests.word(given, "level", tuple(log.LEVELS), also={"warn": "warning"})
        self._log_level, before = level, self._log_level
        log.set_level(level)
        _logger.warning("log level changed", extra={"log_level": level, "before": before})
        return 200, {"level": level, "before": before}

    async def _set_mode(self, given: Given) -> tuple[int, object]:
        mode = requests.word(given, "mode", ("on", "off", "shadow"))
        self._policy.mode, before = mode, self._policy.mode
        _logger.warning("cache mode changed", extra={"mode": mode, "before": before})
        return 200, {"mode": mode, "before": before}

    def _upstream(self, method: str) -> Upstream:
        """The service that a method belongs to."""
        state = self._services.of(method)
        return Upstream(state.called, state.up is not False, state.away, state.reason)

    def _redis_trouble(self) -> str:
        return self._core.redis_state().reason


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _logger.error("the admin page's plots are no longer updated", exc_info=error)


def _page() -> web.Response:
    headers = {**_HEADERS, "Content-Security-Policy": POLICY, "X-Frame-Options": "DENY"}
    return web.Response(body=PAGE, content_type="text/html", charset="utf-8", headers=headers)


def _refused(refusal: Refusal) -> web.Response:
    response = _error(refusal.status, refusal.why)
    if refusal.status == 401:
        response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    return response


def _not_allowed(methods: tuple[str, ...]) -> web.Response:
    response = _error(405, f"this method is not allowed; accepted: {', '.join(methods)}")
    response.headers[hdrs.ALLOW] = ", ".join(methods)
    return response


def _error(status: int, why: str) -> web.Response:
    return _json(status, {"error": why})


def _json(status: int, content: object) -> web.Response:
    text = printable_json(json.dumps(content, ensure_ascii=False, allow_nan=False)) + "\n"
    return web.Response(status=status, text=text, content_type="application/json", headers=_HEADERS)
