"""`Greeting`: what must be known about a server before its first reply is used, and which servers cannot be used.

Only a master can be used. On anything else (a replica, one of several masters that replicate each other, a proxy in
front of several servers) an invalidation may be undone.
"""

import asyncio
import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from proxy.store.replication import Replication

CONNECT_TIMEOUT = 1.0
NOT_A_CLUSTER_ADDRESS = "this is a Redis Cluster: write redis+cluster://… in REDIS_ADDR"
_MASTERS = re.compile(rb"cluster_size:(\d+)")


@dataclass(frozen=True, slots=True)
class Greeting:
    """What the server said on one connection."""

    reign: bytes
    """The id of the server process' time as a master, as stored with each answer; see the function `reign`."""
    replication: Replication
    in_cluster: bool
    """The server is a node of a Cluster, so the keys of one script must be in one slot."""


async def greet(connection: AbstractConnection, scripts: Sequence[bytes] = (), *, in_cluster: bool = True) -> Greeting:
    """Queries the server and loads the scripts into it. `in_cluster`: whether several masters may share the keys.
    Raises redis-py's ConnectionError if the server cannot be used, and ResponseError if it refuses a command.
    """
    try:
        info = await _ask(connection, b"INFO")
    except ResponseError as error:
        if "command" not in str(error) or "permission" in str(error):
            raise
        raise RedisConnectionError(
            f"this is not a Redis server, or it is a proxy in front of several: {error}"
        ) from error
    except RedisConnectionError as error:
        # twemproxy closes the connection and gives no other reason.
        raise RedisConnectionError(
            f"{error} It closed at the command INFO, as a proxy in front of several servers does"
        ) from error
    values = dict(line.split(b":", 1) for line in info.split(b"\r\n") if b":" in line)
    _require_of_use(values)
    clustered = values.get(b"redis_mode") == b"cluster" or values.get(b"cluster_enabled") == b"1"
    if clustered and not in_cluster:
        await _require_one_master(connection)
    replication = Replication.told(info)
    for script in scripts:
        await _ask(connection, b"SCRIPT", b"LOAD", script)
    return Greeting(reign(values[b"run_id"], replication.history), replication, clustered)


async def reign_behind(make: Callable[[], AbstractConnection]) -> bytes | None:
    """The reign of the server that a new connection reaches; None if it reaches none that can be used."""
    connection, writer = make(), None
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await connection.connect()  # type: ignore[no-untyped-call]
            writer = connection._writer  # noqa: SLF001 -- redis-py forgets it when it closes
            return (await greet(connection)).reign
    except Exception:  # noqa: BLE001 -- redis-py raises errors of any type if the server is not a Redis
        return None
    finally:
        with suppress(RedisError, OSError):
            await connection.disconnect(nowait=True)
        if writer is not None:
            writer.transport.abort()  # a plain close would keep unsent data for as long as the server is frozen


def reign(run_id: bytes, history: bytes) -> bytes:
    """The id of one server process' time as a master: a hash of its `run_id` and `master_replid`, in hex."""
    return blake2b(run_id + history, digest_size=20).hexdigest().encode()


def _require_of_use(values: dict[bytes, bytes]) -> None:
    if values.get(b"loading") == b"1":
        raise RedisConnectionError("Redis is loading its data")
    role = values.get(b"role", b"").decode(errors="replace")
    if role in {"slave", "replica"}:
        raise RedisConnectionError("this Redis is a read-only replica")
    if not role:
        raise RedisConnectionError(
            "this server reports no role in INFO: a proxy in front of several servers cannot be used"
        )
    if role != "master":
        raise RedisConnectionError(f"this server's role is {role}: only a master's invalidations can be relied on")
    if not values.get(b"run_id") or b" " in values[b"run_id"]:
        raise RedisConnectionError("this Redis reports no run_id in INFO")


async def _require_one_master(connection: AbstractConnection) -> None:
    """A Cluster with a single master holds every key there, so it may be used as one server."""
    try:
        masters = _MASTERS.search(await _ask(connection, b"CLUSTER", b"INFO"))
    except ResponseError as error:
        raise RedisConnectionError(f"{NOT_A_CLUSTER_ADDRESS} ({error})") from error
    if masters is None or int(masters[1]) != 1:
        raise RedisConnectionError(NOT_A_CLUSTER_ADDRESS)


async def _ask(connection: AbstractConnection, *command: bytes) -> bytes:
    packed: bytes = hiredis.pack_command(command)
    await connection.send_packed_command(packed, check_health=False)
    reply = await connection.read_response(disable_decoding=True, timeout=math.inf, disconnect_on_error=False)
    return reply if isinstance(reply, bytes) else b""
