"""`Scene`: a real proxy with Redis and a media service, which is abused while a well-behaved caller makes calls.

Proxy, media service and caller are separate processes, so that the test's own work delays none of them. `Figures.check`
requires that no well-behaved call failed, that their p99 and the proxy's memory stayed bounded, and that the proxy has
as many open files afterwards as before (a connection is one).
"""

import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.envoy_chain import envoy_of
from tests.support.servers.children import Child, free_port
from tests.support.servers.process import ROOT, ProxyProcess
from tests.support.servers.waiting import until

_WARM, _CALM = 30, 120
"""Numbers of calls: before anything is measured, and without abuse, for the p99 to compare with."""
_LEAST = 110
"""Minimum number of calls that are measured, also after the end of the abuse, so that the p99 is not the worst call."""
_SLOWER, _SLOWEST = 10, 2.0
"""The p99 may be so many times the calm one, or so many seconds, because the machine's two cores may be busy."""
_GOOD = {"hit", "miss", "coalesced", "forwarded"}


@dataclass(frozen=True, slots=True)
class Called:
    """One call of the well-behaved caller; times are in seconds, and `begun` is of `time.monotonic()`."""

    begun: float
    seconds: float
    outcome: str


@dataclass(slots=True)
class Figures:
    """The measurements, complete once `Scene.abused` is left."""

    calm: list[Called]
    calls: list[Called] = field(default_factory=list)
    peak_mib: float = 0.0

    def __str__(self) -> str:
        calm, now = (p99(calls) * 1000 for calls in (self.calm, self.calls))
        return f"{len(self.calls)} calls, p99 {now:.0f} ms (calm {calm:.0f} ms), peak {self.peak_mib:.0f} MiB"

    def check(self, most_mib: float) -> None:
        """Asserts the requirements; `most_mib` is the limit for the proxy's peak memory."""
        print(self)  # noqa: T201 -- for `make test ARGS="tests/abuse -s"`
        assert {call.outcome for call in self.calls} <= _GOOD, Counter(call.outcome for call in self.calls)
        assert p99(self.calls) <= max(_SLOWER * p99(self.calm), _SLOWEST), str(self)
        assert self.peak_mib <= most_mib, str(self)


def p99(calls: list[Called]) -> float:
    """The 99th percentile of the durations, in seconds."""
    ordered = sorted(call.seconds for call in calls)
    return ordered[len(ordered) * 99 // 100]


class Scene:
    """A proxy with these `settings`, its servers, and the well-behaved caller."""

    def __init__(self, redis: str, **settings: str) -> None:
        port = free_port()
        self.upstream = _python("tests.abuse.upstream", str(port))
        given = {"MEDIA_SERVICE_ADDR": f"127.0.0.1:{port}", "REDIS_ADDR": redis, "LOG_LEVEL": "warning", **settings}
        self.proxy = ProxyProcess(**given)
        self.port = self.proxy.listen_port
        self.caller = _python("tests.abuse.caller", str(self.port))

    @asynccontextmanager
    async def abused(self) -> AsyncIterator[Figures]:
        """Measures calm first, then while the test abuses the proxy; finally waits until the proxy is as before."""
        await self._called(_WARM)
        await self.metric("")  # the proxy's connection to Envoy's admin interface stays open
        files = self._open_files()
        calm_since = time.monotonic()
        await self._called(_CALM, calm_since)
        self._forget_peak()
        figures, begun = Figures(self._calls(calm_since)), time.monotonic()
        yield figures
        ended = time.monotonic()
        await self._called(_LEAST, ended)
        figures.calls = self._calls(begun)
        figures.peak_mib = self._peak_mib()
        await until(lambda: self._open_files() <= files, "the proxy's connections to be closed")

    async def called(self, outcome: str) -> None:
        """Waits for a call of the well-behaved caller that begins from now on and has this outcome."""
        since = time.monotonic()
        await until(lambda: any(call.outcome == outcome for call in self._calls(since)), f"a call that is {outcome}")

    async def poured(self, streams: int) -> None:
        """Waits until so many streams have begun upstream."""
        await until(lambda: self.upstream.stdout.count("pouring") >= streams, f"{streams} streams upstream")

    async def metric(self, name: str) -> float:
        """The value of a metric; see `ProxyProcess.metric`."""
        return await self.proxy.metric(name)

    async def all_held(self, size: int, begun: int, ended: Callable[[], int]) -> None:
        """Waits until each of `begun` calls with a message of `size` bytes has ended, or its
        message is held in memory.
        """

        async def settled() -> bool:
            held = await self.metric('media_cache_limit_used{limit="MAX_BYTES_IN_FLIGHT"}')
            return held // size + ended() == begun

        await until(settled, "each message to be held or refused")

    def _calls(self, since: float) -> list[Called]:
        """The calls that ended since then."""
        lines = [line.split() for line in self.caller.stdout.splitlines(keepends=True) if line.endswith("\n")]
        parsed = [Called(float(begun), float(seconds), outcome) for begun, seconds, outcome in lines]
        return [call for call in parsed if call.begun + call.seconds >= since]

    async def _called(self, count: int, since: float = 0.0) -> None:
        """Waits until so many calls that began since then have ended."""
        what = f"{count} calls of the well-behaved caller"
        await until(lambda: sum(call.begun >= since for call in self._calls(since)) >= count, what, timeout=60)

    @property
    def holds_windows(self) -> bool:
        """Whether the proxy holds at most a window of each forwarded call, so that it need not refuse any."""
        return self.proxy.settings["TRANSPORT"] == "envoy"

    @property
    def serving(self) -> int:
        """The process that has callers' connections."""
        return envoy_of(self.proxy) if self.proxy.settings["TRANSPORT"] == "envoy" else self.proxy.pid

    def _open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.serving}/fd"))  # noqa: PTH208 -- only their number is needed

    def _peak_mib(self) -> float:
        """The peak of all resident memory, with pages of executables and the private memory of Envoy's parent."""
        parent = _memory_mib(self.proxy.pid, "RssAnon") if self.serving != self.proxy.pid else 0.0
        return parent + _memory_mib(self.serving, "VmHWM")

    def _forget_peak(self) -> None:
        Path(f"/proc/{self.serving}/clear_refs").write_text("5")  # see proc_pid_clear_refs(5)

    async def __aenter__(self) -> Self:
        try:
            self.upstream.spawn()
            await self.proxy.start()
            self.caller.spawn()
        except BaseException:
            self._remove()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        for child in (self.caller, self.upstream):
            child.kill()
            shutil.rmtree(child.directory, ignore_errors=True)
        self.proxy.remove()


def _memory_mib(pid: int, what: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(what)).split()[1]) / 1024


def _python(module: str, *args: str) -> Child:
    """`python -m module args`, not started yet; its output is in a directory that is removed with the scene."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    return Child(module, [sys.executable, "-m", module, *args], Path(tempfile.mkdtemp(prefix="test-abuse-")), env)
