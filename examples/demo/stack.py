"""`Stack`: Redis, RabbitMQ, the media and the product service, the proxy and two gateways, started in this order and
ended in reverse.

One gateway calls through the proxy, the other calls the services directly; they differ only in the values of
`MEDIA_SERVICE_ADDR` and `PRODUCT_SERVICE_ADDR`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from examples.demo import servers
from examples.demo.process import FailedError, Process, until
from examples.demo.products import POLICY
from examples.demo.programs import Programs
from examples.demo.report import Report

LATENCY_MS = 50
"""The additional duration of the media service's reads, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The servers, and the HTTP session for requests to them."""

    redis: Process
    rabbitmq: Process | None
    """None if it is not installed; then there are no events."""
    media: Process
    products: Process
    proxy: Process
    gateway: Process
    straight: Process
    probe: str
    """The URL of the proxy's probes."""
    admin: str
    """The URL of its page."""
    session: aiohttp.ClientSession

    def __iter__(self) -> Iterator[Process]:
        everything = (self.redis, self.rabbitmq, self.media, self.products, self.proxy, self.gateway, self.straight)
        return (process for process in everything if process is not None)


@asynccontextmanager
async def running(
    programs: Programs, directory: Path, report: Report, proxy_settings: Mapping[str, str] | None = None
) -> AsyncIterator[Stack]:
    """Runs the whole stack and reports the start of each server; FailedError names the one that did not start."""
    async with AsyncExitStack() as exits:
        session = await exits.enter_async_context(aiohttp.ClientSession())
        started: list[Process] = []
        exits.push_async_callback(_end, started)
        stack, helpers = _described(programs, directory, session, proxy_settings or {})
        for process in helpers:
            started.append(process)
            await process.start()
        for process in stack:
            async with report.progress(process.name) as done:
                started.append(process)
                await process.start()
                done(process.where)
            if process is stack.redis and stack.rabbitmq is None:
                report.say(
                    "  RabbitMQ           not installed: events are off, only own writes and the TTL refresh", "dim"
                )
        await _connected(stack)
        yield stack


def _described(
    programs: Programs, directory: Path, session: aiohttp.ClientSession, proxy_settings: Mapping[str, str]
) -> tuple[Stack, list[Process]]:
    """Returns the stack, not started yet, and the servers that must run before it."""
    redis_port, media_port, proxy_port, probe_port = map(servers.free_port, (6379, 50056, 50066, 9464))
    helpers, rabbitmq, amqp = [], None, ""
    if programs.rabbitmq and programs.epmd:
        amqp_port, epmd_port = servers.free_port(5672), servers.free_port()
        helpers = [servers.epmd(programs.epmd, epmd_port, directory)]
        rabbitmq, amqp = (
            servers.rabbitmq(programs.rabbitmq, amqp_port, epmd_port, directory),
            servers.amqp_url(amqp_port),
        )
    product_port = servers.free_port(50055)
    product_service = f"127.0.0.1:{product_port}"
    settings = {
        "POLICY": str(POLICY),
        "MEDIA_SERVICE_ADDR": f"127.0.0.1:{media_port}",
        "PRODUCT_SERVICE_ADDR": product_service,
        "REDIS_ADDR": f"127.0.0.1:{redis_port}",
        "RABBITMQ_ADDR": amqp,
        "ADMIN_ADDR": f"127.0.0.1:{servers.free_port(9901)}",
        **proxy_settings,
    }
    stack = Stack(
        redis=servers.redis(programs.redis, programs.redis_version, redis_port, directory),
        rabbitmq=rabbitmq,
        media=servers.media_service(media_port, directory, RABBITMQ_ADDR=amqp, LATENCY=f"{LATENCY_MS}ms"),
        products=servers.product_service(product_port, directory, RABBITMQ_ADDR=amqp),
        proxy=servers.proxy(proxy_port, probe_port, directory, session, **settings),
        gateway=servers.gateway(
            "gateway", servers.free_port(8080), (f"127.0.0.1:{proxy_port}", f"127.0.0.1:{proxy_port}"), directory
        ),
        straight=servers.gateway(
            "gateway straight", servers.free_port(8081), (f"127.0.0.1:{media_port}", product_service), directory
        ),
        probe=f"http://127.0.0.1:{probe_port}",
        admin=f"http://{settings['ADMIN_ADDR']}",
        session=session,
    )
    return stack, helpers


async def _connected(stack: Stack) -> None:
    """Returns once the proxy is connected to Redis and RabbitMQ; it serves before, but the tour would show that."""
    wanted = [f'media_cache_dependency_up{{dependency="{name}"}} 1' for name in ("redis", "rabbitmq")]
    if stack.rabbitmq is None:
        wanted.pop()

    async def is_connected() -> bool:
        async with stack.session.get(f"{stack.probe}/metrics") as response:
            lines = (await response.text()).splitlines()
        return all(any(line.startswith(metric) for line in lines) for metric in wanted)

    try:
        await until(is_connected, 60)
    except TimeoutError:
        raise FailedError(f"the proxy found not all of {', '.join(wanted)}; see {stack.proxy.log}") from None


async def _end(processes: list[Process]) -> None:
    """Ends all of them concurrently."""
    async with asyncio.TaskGroup() as group:
        for process in processes:
            group.create_task(process.stop())
