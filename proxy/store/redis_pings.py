"""`Pings`: periodic checks of a server, so that no caller's time is spent on finding out its state.

They ask for the server's time and its replicas, and check that it accepts an invalidation: once a second while the
server can be used, every 0.1 s while it cannot. The breaker closes only when all of this succeeds.
"""

import asyncio
import logging
import time
from dataclasses import dataclass

from redis.exceptions import NoScriptError

from proxy.errors import RedisRefusedError, RedisUnavailableError
from proxy.store.redis_health import Health
from proxy.store.redis_link import REDIRECTIONS, Link
from proxy.store.redis_mastership import INFO, Mastership
from proxy.store.write_probe import WriteProbe

log = logging.getLogger(__name__)

_EVERY, _EVERY_WHEN_AWAY = 1.0, 0.1
_DEAD_AFTER = 2.0  # seconds
_EVICTS_NOTHING = b"maxmemory_policy:noeviction"


@dataclass(slots=True)
class Pings:
    """The pings on one link. `run` drops the link's connection if a ping is not answered within 2 s."""

    link: Link
    health: Health
    mastership: Mastership
    probe: WriteProbe | None
    wake: asyncio.Event
    """Set it to ping at once."""
    in_cluster: bool
    evicts: bool = True
    """Whether the server may evict keys, a setting that can be changed while it runs."""

    async def run(self) -> None:
        """Pings until cancelled."""
        while True:
            if self.link.connected.is_set():
                await self._once()
            try:
                async with asyncio.timeout(_EVERY if self.health.breaker.closed else _EVERY_WHEN_AWAY):
                    await self.wake.wait()
            except TimeoutError:
                pass
            self.wake.clear()

    async def _once(self) -> None:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(_DEAD_AFTER):
                now, info, memory, *cluster = await asyncio.gather(
                    *[self.link.request(*each) for each in self._questions()]
                )
                ended = time.monotonic()
                refusal = await self._refusal()
        except TimeoutError:
            self.health.failed(f"no answer within {_DEAD_AFTER:g} s")
            self.link.drop(self.health.breaker.reason)
            return
        except RedisRefusedError as error:
            self.health.refused(str(error))
            return
        except (RedisUnavailableError, *REDIRECTIONS):
            return
        self.evicts = not isinstance(memory, bytes) or _EVICTS_NOTHING not in memory
        if isinstance(now, list) and isinstance(info, bytes):
            if not self.mastership.told(info, begun):
                return
            self._tell(self.health.clock.pinged(int(now[0]) * 1000 + int(now[1]) / 1000, begun, ended))
        if any(isinstance(state, bytes) and b"cluster_state:ok" not in state for state in cluster):
            self.health.failed("the cluster is down")
        elif refusal:
            self.health.refused(refusal)
        elif not self.mastership.doubt:
            self.health.pinged(ended - begun)

    def _tell(self, set_back: float) -> None:
        """Takes by how many seconds Redis' clock was set back. Entries would live longer by that much, and those born
        ahead of the clock would become valid again later, so the cache is flushed.
        """
        if set_back:
            log.warning(
                "Redis' clock was set back by %.0f s: the whole cache will be flushed",
                set_back,
                extra={"dependency": "redis", "seconds": round(set_back)},
            )
            self.mastership.renewed(None)

    def _questions(self) -> tuple[tuple[bytes, ...], ...]:
        own = ((b"TIME",), INFO, (b"INFO", b"memory"))
        return (*own, (b"CLUSTER", b"INFO")) if self.in_cluster else own

    async def _refusal(self) -> str:
        """Why the server accepts no invalidation; empty if it does. It is not part of the measured time of the ping,
        because a write may wait for a disk.
        """
        for known in (True, False):
            commands = () if self.probe is None else self.probe.commands(self.link.run_id, known=known)
            try:
                await asyncio.gather(*[self.link.request(*command) for command in commands])
            except NoScriptError:
                continue
            except RedisRefusedError as error:
                return refusal(error)
            except REDIRECTIONS:
                pass  # the key's slot is moving
            break
        return ""


def refusal(error: RedisRefusedError) -> str:
    """The reason why a server accepts no invalidations, for logs and status."""
    return f"Redis accepts no invalidations: {error}"
