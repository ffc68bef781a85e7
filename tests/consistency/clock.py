"""`Clock`: Redis' clock as a schedule sets it, in the scripts and in the proxies' estimate.

Redis takes its time from the machine, whose clock a test cannot set. So TIME in the scripts is replaced by one that
adds a jump, which is stored in a key in Redis. HGET does not use the time, and the proxies' estimate is moved by the
same amount.
"""

import time
from collections.abc import Callable
from hashlib import sha1
from types import ModuleType, SimpleNamespace

import pytest

from proxy.store import dependants, redis_store
from proxy.store.server_clock import ServerClock
from tests.support.servers.redis import RedisServer

_KEY = "tests:clock:jump"
_TIME = b"redis.call('TIME')"
_JUMPED = (
    b"(function() local t = redis.call('TIME') "
    b"return {t[1] + (tonumber(redis.call('GET', '" + _KEY.encode() + b"') or '0')), t[2]} end)()"
)


class Clock:
    """The clock of one world, whose Redis holds no jump at first."""

    def __init__(self) -> None:
        self._jump = 0

    def time(self) -> float:
        """Redis' time in seconds since 1970."""
        return time.time() + self._jump

    async def jump(self, redis: RedisServer, seconds: int) -> None:
        """Makes Redis' clock jump by so many seconds, back if negative; proxies notice it."""
        self._jump += seconds
        await redis.cli("SET", _KEY, self._jump)

    def rules(self, patch: pytest.MonkeyPatch) -> None:
        """Makes scripts and proxies use this clock until the patch is undone."""
        for name in ("_ACQUIRE", "_FILL", "_INVALIDATE"):
            swap(patch, name, lambda source: source.replace(_TIME, _JUMPED))
        for name in ("DEPEND", "CLOSE"):
            swap(patch, name, lambda source: source.replace(_TIME, _JUMPED), dependants)
        now_ms = ServerClock.now_ms
        patch.setattr(ServerClock, "now_ms", lambda clock, now: now_ms(clock, now) + self._jump * 1000)


def swap(
    patch: pytest.MonkeyPatch, name: str, change: Callable[[bytes], bytes], module: ModuleType = redis_store
) -> None:
    """Changes a script's source where the store finds it; asserts that the change has an effect."""
    before = getattr(module, name).source
    source = change(before)
    assert source != before, f"{name} is no longer what this change expects"
    script = SimpleNamespace(source=source, sha=sha1(source, usedforsecurity=False).hexdigest().encode())
    patch.setattr(module, name, script)
    loaded = tuple(source if one == before else one for one in redis_store._SCRIPTS)
    patch.setattr(redis_store, "_SCRIPTS", loaded)
