"""The parts between the cache and Redis, run for a test: connections that count their writes, tasks that end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from proxy.calls.keys import Keys, RequestKey
from proxy.calls.reads import Verdict
from proxy.pb.media_pb2 import GetFilesByModelRequest
from proxy.settings.setting_types import RedisAddr
from proxy.store.redis_link import Link
from proxy.store.redis_mastership import Naming
from proxy.store.redis_node import Budget, Node
from proxy.store.redis_store import Grant, RedisStore, probing
from proxy.tls import Leg
from tests.support.media_methods import MediaKeys, verdict
from tests.support.servers.waiting import until


class Seen(Connection):
    """A redis-py connection that counts the writes to its transport and gives access to its socket."""

    writes = 0

    def __init__(self, log: "list[Seen]", **options: Any) -> None:
        super().__init__(**options)
        log.append(self)
        self.socket: Any = None

    async def _connect(self) -> None:
        await super()._connect()  # type: ignore[no-untyped-call]
        if self._writer is not None:
            self.socket = self._writer.get_extra_info("socket")
            self._writer._transport = _Counted(self._writer.transport, self)  # type: ignore[attr-defined]


class _Counted:
    """Wraps a transport and counts its writes; the methods of uvloop's transports cannot be replaced."""

    def __init__(self, transport: asyncio.WriteTransport, seen: Seen) -> None:
        self._transport, self._seen = transport, seen

    def write(self, data: bytes) -> None:
        self._seen.writes += 1
        self._transport.write(data)

    def writelines(self, lines: Iterable[bytes]) -> None:
        self.write(b"".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def maker(port: int, log: "list[Seen] | None" = None, **options: Any) -> Callable[[], Seen]:
    """Makes connections like the topology's."""
    seen: list[Seen] = [] if log is None else log
    given = {"socket_connect_timeout": 1.0, "socket_timeout": None, "protocol": 2, "retry": Retry(NoBackoff(), 0)}
    return lambda: Seen(seen, host="127.0.0.1", port=port, **given, **options)


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Runs a task until the block ends; an error of the task fails the test."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        ended = task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if ended and not task.cancelled():
            task.result()


class Watched:
    """A running link, and what it told its owner."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.ups = 0
        self.downs: list[str] = []

    def up(self) -> None:
        self.ups += 1

    async def connected(self, times: int = 1) -> None:
        await until(lambda: self.ups >= times and self.link.connected.is_set(), f"connection {times}")

    async def down(self, text: str) -> None:
        """Waits until it was lost, or could not be made, for a reason that contains the text."""
        await until(lambda: any(text in reason for reason in self.downs), f"{text!r} among {self.downs}")


@asynccontextmanager
async def linked(make: Callable[[], Connection], *scripts: bytes, up: bool = True) -> AsyncIterator[Watched]:
    """Runs a link; with `up`, waits until it is connected."""
    watched = Watched(Link(make, scripts))
    async with running(watched.link.run(watched.up, watched.downs.append)):
        if up:
            await watched.connected()
        yield watched


class Told:
    """What a node tells its owner."""

    def __init__(self) -> None:
        self.changes: list[tuple[bool, str]] = []
        self.renewals: list[float | None] = []

    def changed(self, up: bool, reason: str) -> None:
        self.changes.append((up, reason))


@asynccontextmanager
async def noded(
    make: Callable[[], Connection],
    *scripts: bytes,
    up: bool = True,
    settling: float = 10.0,
    look_every: float = 1.0,
    probed: bool = False,
) -> AsyncIterator[tuple[Node, Told]]:
    """Runs a node; with `up`, waits until it is usable; with `probed`, only while it accepts invalidations."""
    told = Told()
    probe = probing(KEYS)(lambda key: True) if probed else None
    naming = Naming(settling, look_every)
    node = Node(make, scripts, told.changed, naming=naming, renewed=told.renewals.append, probe=probe)
    async with running(node.run()):
        if up:
            await until(lambda: node.usable, "the node to be usable")
        yield node, told


KEYS = MediaKeys("media", ("authorization",))
FOREVER = verdict(None, None)


def request_key(model_id: int = 1, page: int = 1, caller: str = "", keys: MediaKeys = KEYS) -> RequestKey:
    """The key of one request for a user's files."""
    body = GetFilesByModelRequest(model_type="User", model_id=model_id, page=page).SerializeToString()
    key = keys.of_request(body, (("authorization", caller),) if caller else ())
    assert key is not None
    return key


@asynccontextmanager
async def storing(
    addr: str,
    *,
    ttl: float = 60.0,
    stale: float = 0.0,
    keys: Keys = KEYS,
    up: bool = True,
    tls: Leg | None = None,
    dependants: bool = False,
) -> AsyncIterator[RedisStore]:
    """Runs a store; with `up`, waits until all of its nodes are usable."""
    target = RedisAddr().parse(addr)
    assert target is not None
    store = RedisStore(
        target, keys, ttl=ttl, stale=stale, changed=lambda up, reason: None, tls=tls, dependants=dependants
    )
    async with running(store.run()):
        if up:
            await ready(store)
        yield store


async def ready(store: RedisStore, timeout: float = 10) -> None:
    """Waits until all nodes are usable, and what is stored now is certainly newer than an outage that just ended: the
    estimate of a node's clock may be wrong by half of a ping's duration.
    """
    nodes = store._topology.nodes
    await until(lambda: nodes() and all(node.usable for node in nodes()), "Redis to be usable", timeout)
    await until(lambda: all(node.now_ms() > node.min_born_ms() + 10 for node in nodes()))


async def leased(store: RedisStore, key: RequestKey) -> Grant:
    """Takes a lease; the test fails if it is not granted."""
    grant = await store.acquire(key, Budget(5))
    assert grant.kind == "lease", grant
    return grant


async def filled(
    store: RedisStore,
    key: RequestKey,
    grant: Grant,
    body: bytes = b"body",
    meta: Verdict = FOREVER,
    jitter: float = 0.0,
) -> bool:
    """Whether Redis stored the answer."""
    reply = store.fill(key, grant, body, meta, jitter)
    return reply is not None and await reply == 1


async def cached(store: RedisStore, key: RequestKey, body: bytes = b"body") -> None:
    """Makes a complete miss."""
    assert await filled(store, key, await leased(store, key), body)


async def body_of(store: RedisStore, key: RequestKey) -> bytes | None:
    """Returns what a hit would be answered with."""
    found = await store.read(key, Budget(5))
    return None if found is None else found.entry.body
