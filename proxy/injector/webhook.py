"""`Webhook`: HTTPS for the API server, plain HTTP for probes and metrics, and the upkeep next to them.

`POST /mutate` answers an AdmissionReview. Any other body gets 400, 413 or 415; an exception gets 500, so that the
webhook configuration's failurePolicy decides. `/readyz` is 200 only while the API server would trust the certificate.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from proxy.injector.certificates import Keeper
from proxy.injector.cluster import Cluster, ClusterError
from proxy.injector.events import Events
from proxy.injector.metrics import WebhookMetrics
from proxy.injector.patch import Decision
from proxy.injector.policies import Found
from proxy.injector.policies import wanted as wanted_policy
from proxy.injector.review import Answer, BadReview, Review, answered, decided, read
from proxy.injector.settings import InjectorSettings
from proxy.injector.versions import Version
from proxy.settings.setting_types import split_host_port
from proxy.telemetry.listening import listening_socket

_logger = logging.getLogger(__name__)

_LARGEST_BODY = 4 << 20
"""Bytes of a request body. An API server accepts objects of up to 3 MiB."""


@dataclass(slots=True)
class Webhook:
    """The handlers and what they share. `kubernetes` is None until the API server's version is known."""

    settings: InjectorSettings
    keeper: Keeper
    cluster: Cluster
    metrics: WebhookMetrics
    kubernetes: Version | None = None
    asks_namespaces: bool = True
    tells_owners: bool = True
    watches: tuple[Callable[[], AsyncIterator[None]], ...] = ()
    ending: bool = False
    events: Events = field(init=False)

    def __post_init__(self) -> None:
        self.events = Events(self._record)

    async def _record(self, event: dict[str, Any]) -> None:
        await self.cluster.record(event)

    async def mutate(self, request: web.Request) -> web.Response:
        """`POST /mutate`: one admission. While the webhook ends, each answer tells the API server that its connection
        closes: a request sent on a connection that the webhook closes would get no answer, and is not repeated.
        """
        answer = await self._answer(request)
        if self.ending:
            answer.force_close()
        return answer

    async def _answer(self, request: web.Request) -> web.Response:
        started = time.perf_counter()
        try:
            return await self._mutate(request)
        except web.HTTPRequestEntityTooLarge:
            return self._refuse(413, "too-large", f"the body is larger than {_LARGEST_BODY} bytes")
        except BadReview as error:
            return self._refuse(400, "bad-review", str(error))
        except Exception:
            _logger.exception("an admission failed")
            self.metrics.admissions.labels("error", "exception").inc()
            return web.Response(status=500, text="internal error\n")
        finally:
            self.metrics.admission_seconds.observe(time.perf_counter() - started)

    async def _mutate(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            return self._refuse(415, "content-type", f"{request.content_type} is not accepted; send application/json")
        body = await request.read()
        if self.kubernetes is None:
            # Not ready, so no request should arrive; with a guessed version, a pod might never run.
            self.metrics.admissions.labels("error", "not-ready").inc()
            return web.Response(status=503, text="the API server's version is not known yet\n")
        review = read(body)
        found = answered(review, await self._decided(review, self.kubernetes))
        self.metrics.admissions.labels(found.result, found.reason).inc()
        _logger.log(
            logging.DEBUG if found.result == "unchanged" else logging.INFO,
            "admission",
            extra={"pod": found.pod, "result": found.result, "reason": found.reason, "note": found.message},
        )
        if not review.dry and not review.of_a_namespace:
            self._tell(review, found)
        return web.json_response(found.body)

    def _tell(self, review: Review, found: Answer) -> None:
        """Counts and records what people who do not see an admission's warnings should know."""
        if found.result == "skipped":
            self.metrics.not_injected.labels(found.asked, found.reason).inc()
            if self.tells_owners:
                self.events.tell(review.namespace, review.pod, found.reason, found.message)
        elif found.unseen and self.tells_owners:
            self.events.tell(review.namespace, review.pod, "unseen", found.unseen, "SidecarNotUsed")

    async def _decided(self, review: Review, kubernetes: Version) -> Decision:
        """The decision, made a second time with the namespace's rules, which are only read if it adds a sidecar."""
        policy = await self._policy(review)
        first = decided(review, kubernetes, self.settings, policy=policy)
        if not first.adds or not self.asks_namespaces:
            return first
        try:
            demands = await self.cluster.demands(review.namespace)
        except ClusterError as error:
            self.metrics.demands_unknown.inc()
            _logger.debug("what the namespace demands is not known", extra={"error": str(error)})
            return first
        return decided(review, kubernetes, self.settings, demands, policy)

    async def _policy(self, review: Review) -> Found | None:
        """The policy that a new pod names; None if it names none."""
        reference = wanted_policy(review.pod) if review.creates_a_pod else None
        if reference is None:
            return None
        try:
            data = await self.cluster.config(review.namespace, reference.name)
        except ClusterError as error:
            return Found(trouble=f"cannot be read: {error}")
        if reference.key not in data:
            return Found(trouble=f"the ConfigMap in {review.namespace} has no key {reference.key}")
        return Found(data[reference.key])

    def _refuse(self, status: int, reason: str, message: str) -> web.Response:
        self.metrics.admissions.labels("rejected", reason).inc()
        return web.Response(status=status, text=f"{message}\n")

    async def healthz(self, _request: web.Request) -> web.Response:
        """`GET /healthz`: 200 while the process serves."""
        return web.Response(text="ok\n")

    async def readyz(self, _request: web.Request) -> web.Response:
        """`GET /readyz`: 200 while admissions can be answered, otherwise 503 with the reason."""
        if problem := self.problem():
            return web.Response(status=503, text=f"{problem}\n")
        return web.Response(text="ok\n")

    def problem(self) -> str | None:
        """Why admissions should not be sent here; None if nothing is wrong."""
        if self.ending:
            return "ending"
        if self.kubernetes is None:
            return "the API server's version is not known yet"
        return self.keeper.problem

    async def text_metrics(self, _request: web.Request) -> web.Response:
        """`GET /metrics`: the metrics in Prometheus' text format."""
        return web.Response(body=self.metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def ask_version(self) -> None:
        """Reads the API server's version, since a cluster may be upgraded; if that fails, the last one is kept."""
        try:
            self.kubernetes = await self.cluster.version()
        except ClusterError as error:
            if self.kubernetes is None:
                _logger.warning("the API server's version is not known", extra={"error": str(error)})

    async def upkeep(self, interval: float) -> None:
        """Keeps certificate and version up to date, writes Events, and watches, until cancelled."""
        await self.ask_version()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.keeper.run(interval))
            group.create_task(self._keep_asking(interval))
            group.create_task(self.events.run())
            for changes in self.watches:
                group.create_task(self.keeper.watch(changes))

    async def _keep_asking(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval if self.kubernetes else min(interval, 2.0))
            await self.ask_version()


@asynccontextmanager
async def listening(webhook: Webhook, listen_addr: str, probe_addr: str) -> AsyncIterator[tuple[int, int]]:
    """Runs both listeners until the block ends; yields their ports. Raises OSError if one is taken."""
    admissions = web.Application(client_max_size=_LARGEST_BODY)
    admissions.router.add_post("/mutate", webhook.mutate)
    probes = web.Application()
    for path, handler in (
        ("/healthz", webhook.healthz),
        ("/readyz", webhook.readyz),
        ("/metrics", webhook.text_metrics),
    ):
        probes.router.add_get(path, handler)
    runners = [web.AppRunner(each, access_log=None, shutdown_timeout=5.0) for each in (admissions, probes)]
    ports = []
    try:
        for runner, address, context in zip(
            runners, (listen_addr, probe_addr), (webhook.keeper.context, None), strict=True
        ):
            await runner.setup()
            await web.SockSite(runner, listening_socket(*split_host_port(address)), ssl_context=context).start()
            ports.append(runner.addresses[0][1])
        yield ports[0], ports[1]
    finally:
        for runner in runners:
            await runner.cleanup()


async def serve(
    webhook: Webhook, listen_addr: str, probe_addr: str, *, interval: float, drain_time: float, stop: asyncio.Event
) -> None:
    """Serves until `stop` is set. From then on it is not ready, but it goes on serving for `drain_time` seconds, while
    the Service removes it.
    """
    async with listening(webhook, listen_addr, probe_addr) as (admission_port, probe_port):
        _logger.info("listening", extra={"admissions": admission_port, "probes": probe_port})
        upkeep = asyncio.create_task(webhook.upkeep(interval))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({upkeep, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if upkeep.done():
                await upkeep  # it only ends by an error, which this raises
            webhook.ending = True
            await asyncio.sleep(drain_time)
        finally:
            for task in (upkeep, stopped):
                task.cancel()
            await asyncio.gather(upkeep, stopped, return_exceptions=True)
