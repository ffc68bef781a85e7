"""`ping`: whether each dependency of the proxy can be reached, and how quickly.

It connects the way the proxy does (Sentinel, Cluster, TLS, credentials, gRPC names), so that a wrong setting shows
without a running proxy.
"""

import asyncio
import time
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import grpc.aio
from grpc import StatusCode

from proxy.amqp.rabbit_session import RabbitSession, why
from proxy.calls.keys import Keys
from proxy.errors import RedisUnavailableError
from proxy.reasons import in_words
from proxy.settings.redact import without_credentials
from proxy.settings.setting_types import RedisTarget
from proxy.store.redis_connecting import Listeners
from proxy.store.redis_node import Budget
from proxy.store.redis_store import probing
from proxy.store.redis_topology import topology
from proxy.tls import Leg, Tls
from proxy.transport.credentials import open_channel, why_not_connected

PATIENCE = 3.0
"""Maximum seconds for each dependency."""
_POLL = 0.005
_A_CALL = "/grpc.health.v1.Health/Check"
"""The media service need not have this method: UNIMPLEMENTED is an answer too."""
_NO_ANSWER = frozenset({StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.CANCELLED})


@dataclass(frozen=True, slots=True)
class Ping:
    """The result for one dependency. Durations are in seconds, or None if it was not reached."""

    name: str
    address: str
    """The address with credentials masked."""
    connect: float | None = None
    """The time until the connection could be used, including discovery and authentication."""
    round_trip: float | None = None
    """The time of one request on that connection; None also for the collector, of which only the port is tried."""
    error: str = ""
    """Why it was not reached; "" if it was."""

    @property
    def reached(self) -> bool:
        return not self.error


async def ping(
    redis: RedisTarget | None,
    rabbitmq: tuple[str, ...],
    upstream: str,
    collector: str,
    patience: float = PATIENCE,
    tls: Tls | None = None,
    namespace: str = "media",
) -> list[Ping]:
    """Tries all dependencies that are configured at once, each for at most `patience` seconds.

    None or an empty address means not configured. Without `tls` only the addresses' own TLS options count.
    """
    tls = tls or Tls()
    asking = [_asked("upstream", upstream, _ping_upstream(upstream, patience, tls.upstream))]
    if redis is not None:
        asking.append(_asked("redis", str(redis), _ping_redis(redis, patience, tls.redis, namespace)))
    asking += [_asked("rabbitmq", url, _ping_rabbitmq(url, patience, tls.rabbitmq)) for url in rabbitmq]
    if collector:
        asking.append(_asked("collector", collector, _ping_collector(collector, patience)))
    return list(await asyncio.gather(*asking))


class _UnreachableError(Exception):
    """A dependency was not reached; the text says why."""


async def _asked(name: str, address: str, ask: Awaitable[tuple[float, float | None]]) -> Ping:
    shown = without_credentials(address)
    try:
        connect, round_trip = await ask
    except _UnreachableError as error:
        return Ping(name, shown, error=in_words(error))
    return Ping(name, shown, connect, round_trip)


async def _ping_redis(
    target: RedisTarget, patience: float, tls: Leg | None, namespace: str
) -> tuple[float, float | None]:
    """The times of the slowest master. A master that accepts no invalidations counts as not reached."""
    reasons = [f"no answer within {patience:g} s"]
    told = Listeners(lambda up, reason: None if up else reasons.append(reason))
    nodes = topology(target, (), told, tls, probing(Keys(namespace, ())))
    begun = time.monotonic()
    running = asyncio.create_task(nodes.run())
    try:
        async with asyncio.timeout(patience):
            while not nodes.nodes() or not all(node.usable for node in nodes.nodes()):  # noqa: ASYNC110 -- no event
                await asyncio.sleep(_POLL)
        connected = time.monotonic()
        await asyncio.gather(*(node.ask(Budget(patience), b"PING") for node in nodes.nodes()))
        return connected - begun, time.monotonic() - connected
    except TimeoutError:
        raise _UnreachableError(reasons[-1]) from None
    except RedisUnavailableError as error:
        raise _UnreachableError(str(error)) from None
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _ping_rabbitmq(url: str, patience: float, tls: Leg | None) -> tuple[float, float | None]:
    begun = time.monotonic()
    opening = asyncio.create_task(RabbitSession.open(url, tls.context if tls is not None else None))
    done, _ = await asyncio.wait({opening}, timeout=patience)
    if not done:
        opening.cancel()
        await asyncio.wait({opening}, timeout=patience)
        raise _UnreachableError(f"no answer within {patience:g} s")
    error = opening.exception()
    if error is not None:
        raise _UnreachableError(_masked_in(why(error), url))
    session = opening.result()
    connected = time.monotonic()
    try:
        # Opening a channel is the simplest request of AMQP.
        await session.step(_channel(session), patience)
        return connected - begun, time.monotonic() - connected
    except TimeoutError:
        raise _UnreachableError(f"connected, then no answer within {patience:g} s") from None
    finally:
        await session.close()


async def _channel(session: RabbitSession) -> None:
    await session.connection.channel(publisher_confirms=False).initialize()


async def _ping_upstream(target: str, patience: float, tls: Leg | None) -> tuple[float, float | None]:
    begun = time.monotonic()
    async with open_channel(target, tls) as channel:
        try:
            async with asyncio.timeout(patience):
                await channel.channel_ready()
        except TimeoutError:
            why = await why_not_connected(channel)
            raise _UnreachableError(f"no connection within {patience:g} s" + (f": {why}" if why else "")) from None
        connected = time.monotonic()
        try:
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_A_CALL)
            await call(b"", timeout=patience)
        except grpc.aio.AioRpcError as error:
            if error.code() in _NO_ANSWER:
                raise _UnreachableError(f"connected, then {error.code().name}: {error.details()}") from None
        return connected - begun, time.monotonic() - connected


async def _ping_collector(url: str, patience: float) -> tuple[float, float | None]:
    """Tries only the port, since a test span would stay in the collector. The proxy logs it if spans are refused."""
    begun = time.monotonic()
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        async with asyncio.timeout(patience):
            _, writer = await asyncio.open_connection(parts.hostname or "localhost", port)
    except TimeoutError:
        raise _UnreachableError(f"no connection within {patience:g} s") from None
    except (OSError, ValueError) as error:
        raise _UnreachableError(in_words(error)) from None
    connected = time.monotonic()
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return connected - begun, None


def _masked_in(text: str, url: str) -> str:
    """The text with the URL's password masked, in case the library has quoted it."""
    password = urlsplit(url).password
    return text.replace(password, "***") if password else text
