"""`Sentinels`: asks for the current master, with the right credentials, and reports why there is none."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from redis.asyncio.client import Redis
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.exceptions import AuthenticationError, RedisError
from redis.utils import str_if_bytes

from proxy.reasons import in_words
from proxy.settings.setting_types import RedisTarget
from proxy.store.redis_connecting import CONNECTING, once, options

_IN_PROGRESS = "failover_in_progress"
_SENTINEL_TIMEOUT = 0.2
"""Seconds to connect to a Sentinel, and for its answer: several may be away, and connecting may take 1 s in all."""


class Sentinels(Sentinel):
    """The Sentinels that redis-py's connections ask for their master. `credentials` are tried in turn until a Sentinel
    accepts them.
    """

    def __init__(
        self, nodes: Sequence[tuple[str, int]], options: Mapping[str, Any], credentials: Sequence[Mapping[str, str]]
    ) -> None:
        first, *others = credentials
        super().__init__(nodes, sentinel_kwargs={**options, **first})  # type: ignore[no-untyped-call]
        self._others: dict[Redis, list[Redis]] = {
            client: [Redis(host=host, port=port, **{**options, **each}) for each in others]
            for client, (host, port) in zip(self.sentinels, nodes, strict=True)
        }

    @property
    def pools(self) -> Sequence[ConnectionPool]:
        """The pools of all connections to Sentinels."""
        return [client.connection_pool for first, others in self._others.items() for client in (first, *others)]

    async def aclose(self) -> None:
        """Closes the connections to Sentinels."""
        for first, others in self._others.items():
            for client in (first, *others):
                await client.aclose()

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Host and port of the master. Raises MasterNotFoundError, whose text says what each Sentinel answered."""
        reasons: dict[str, list[str]] = {}
        for number, sentinel in enumerate(self.sentinels):
            try:
                found = await self._told_by(sentinel, service_name)
            except (RedisError, OSError) as error:
                found = in_words(error)
            if not isinstance(found, str):
                # As in redis-py, the one that answered is asked first the next time.
                self.sentinels[0], self.sentinels[number] = sentinel, self.sentinels[0]
                return found
            reasons.setdefault(found, []).append(_place(sentinel))
        told = "; ".join(f"{reason} ({', '.join(places)})" for reason, places in reasons.items())
        raise MasterNotFoundError(f"No master found for {service_name!r}: {told}")

    async def _told_by(self, sentinel: Redis, name: str) -> tuple[str, int] | str:
        """The master's address, or why this Sentinel names none."""
        client, masters = await self._masters(sentinel)
        state = masters.get(name)
        if state is None:
            return f"Sentinel knows no {name!r}"
        if _IN_PROGRESS in str(state.get("flags")):
            # SENTINEL MASTERS names the old master until all replicas follow the new one; this command does not.
            found = await client.sentinel_get_master_addr_by_name(name)
            if not isinstance(found, tuple):
                return f"Sentinel knows no {name!r}"
            return str_if_bytes(found[0]), int(found[1])
        if not self.check_master_state(state, name):
            return "Sentinel considers it down"
        return str(state["ip"]), int(state["port"])

    async def _masters(self, sentinel: Redis) -> tuple[Redis, dict[str, dict[str, Any]]]:
        *others, last = sentinel, *self._others[sentinel]
        for client in others:
            try:
                return client, cast("dict[str, dict[str, Any]]", await client.sentinel_masters())
            except AuthenticationError:
                continue  # it needs other credentials, or none
        return last, cast("dict[str, dict[str, Any]]", await last.sentinel_masters())


def _place(sentinel: Redis) -> str:
    where = sentinel.connection_pool.connection_kwargs
    return f"{where['host']}:{where['port']}"


def sentinels_of(target: RedisTarget) -> Sentinels:
    """The Sentinels of a `REDIS_ADDR`, with the URL's TLS options. They are tried without credentials and then with the
    master's, or with their own password and then without.
    """
    given, tls = options(target)
    asking = {name: value for name, value in given.items() if name.startswith("ssl_")}
    asking |= {**CONNECTING, "retry": once(), "ssl": tls}
    asking |= {"socket_timeout": _SENTINEL_TIMEOUT, "socket_connect_timeout": _SENTINEL_TIMEOUT}
    masters: dict[str, str] = {name: given[name] for name in ("username", "password") if name in given}
    if target.sentinel_password:
        return Sentinels(target.nodes, asking, ({"password": target.sentinel_password}, {}))
    return Sentinels(target.nodes, asking, ({}, masters) if masters else ({},))


def pool_of(target: RedisTarget, sentinels: Sentinels) -> ConnectionPool:
    """The pool of connections to the master."""
    given, tls = options(target)
    given |= {**CONNECTING, "retry": once()}
    return SentinelConnectionPool(target.master, sentinels, ssl=tls, **given)  # type: ignore[no-untyped-call]
