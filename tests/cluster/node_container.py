"""`Container`: one container of the toy node, as a process with the root and mounts that a container would see.

Bubblewrap gives it a root of its own: this machine's programs and the project, read-only, and the pod's volumes at
their paths. Its pod has an address of 127.0.0.0/8, which stands for `127.0.0.1` and for all addresses.
"""

import asyncio
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import Any

import httpx2

from tests.chart.tools import ROOT
from tests.support.servers.children import Child
from tests.support.servers.waiting import until

_EVERYWHERE = re.compile(r"(\[::\]|0\.0\.0\.0|127\.0\.0\.1)(?=:\d)")
_ETC = tuple(f"/etc/{name}" for name in ("ld.so.cache", "nsswitch.conf", "passwd", "group", "ssl", "alternatives"))
"""The files of /etc that programs need; not all of it, since volumes are mounted below it."""
_AGAIN_AFTER = 0.5
"""Seconds until a process that ended is started again; a kubelet waits longer each time."""


def at_home(text: str, ip: str) -> str:
    """A listening or loopback address in a text, replaced by the pod's own address `ip`."""
    return _EVERYWHERE.sub(ip, text)


class Container:
    """`spec` is the API's; the pod makes `env` and `mounts`, which are by path in the container."""

    def __init__(
        self, spec: dict[str, Any], env: Mapping[str, str], mounts: Mapping[str, Path], folder: Path, ip: str
    ) -> None:
        self.spec, self.ip = spec, ip
        self.restarts, self.ready, self.started = 0, False, False
        self._probes: list[asyncio.Task[None]] = []
        self._child = Child(spec["name"], [*self._sandbox(mounts), *self._command()], folder, env)

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def running(self) -> bool:
        return self._child.running

    @property
    def status(self) -> int | None:
        """The exit status of the process that ended last; None if none has."""
        return self._child.returncode

    @property
    def log(self) -> str:
        return self._child.stdout + self._child.stderr

    def _command(self) -> list[str]:
        """The command to run. Images have no meaning here, so a container without a command does nothing."""
        return [*(self.spec.get("command") or ["sleep", "infinity"]), *(self.spec.get("args") or ())]

    def _sandbox(self, mounts: Mapping[str, Path]) -> list[str]:
        command = ["bwrap", "--die-with-parent", "--unshare-pid", "--as-pid-1", "--unshare-ipc", "--unshare-user"]
        for link in map(Path, ("/bin", "/lib", "/lib64", "/sbin")):
            if link.is_symlink():
                command += ["--symlink", str(link.readlink()), str(link)]
        for tree in dict.fromkeys(("/usr", sys.base_prefix, str(ROOT), *_ETC)):
            command += ["--ro-bind-try", tree, tree]
        command += ["--proc", "/proc", "--dev", "/dev", "--dir", "/tmp"]  # noqa: S108 -- the container's own
        for path, source in sorted(mounts.items()):
            command += ["--bind" if source.is_dir() else "--ro-bind", str(source), path]
        security = self.spec.get("securityContext") or {}
        if security.get("readOnlyRootFilesystem"):
            command += ["--remount-ro", "/"]
        if security.get("runAsUser"):
            command += ["--uid", str(security["runAsUser"]), "--gid", str(security["runAsUser"])]
        return [*command, "--chdir", "/", "--"]

    def start(self) -> None:
        """Starts the process and its probes; without probes the container is ready at once."""
        self._child.spawn()
        self.ready = not self.spec.get("readinessProbe") and not self.spec.get("startupProbe")
        self.started = not self.spec.get("startupProbe")
        self._probes = [asyncio.create_task(self._watch())]

    async def restart(self) -> None:
        """Starts the process again, some time after it ended."""
        self.quiet()
        await asyncio.sleep(_AGAIN_AFTER)
        self.restarts += 1
        self.start()

    def quiet(self) -> None:
        """Ends the probes."""
        for task in self._probes:
            task.cancel()
        self.ready = self.started = False

    async def stop(self, grace: float) -> None:
        """Sends SIGTERM, and SIGKILL after `grace` seconds; returns once the process has ended."""
        self._signal(SIGTERM)
        try:
            await until(lambda: not self.running, f"the end of {self.name}", grace)
        except TimeoutError:
            self._signal(SIGKILL)
            await until(lambda: not self.running, f"the end of {self.name}")
        self.quiet()

    def kill(self) -> None:
        """Kills the process, at the end of the test."""
        self.quiet()
        self._child.kill()

    def _signal(self, number: Signals) -> None:
        """Signals the container's first process, since bubblewrap does not forward signals."""
        if not self.running:
            return
        children = Path(f"/proc/{self._child.pid}/task/{self._child.pid}/children").read_text().split()
        for pid in map(int, children):
            os.kill(pid, number)

    async def _watch(self) -> None:
        startup, liveness, readiness = (self.spec.get(f"{kind}Probe") for kind in ("startup", "liveness", "readiness"))
        if startup:
            await self._until_passed(startup)
            self.started = True
        self.ready = not readiness
        async with asyncio.TaskGroup() as group:
            if readiness:
                group.create_task(self._keep_ready(readiness))
            if liveness:
                group.create_task(self._keep_alive(liveness))

    async def _until_passed(self, probe: dict[str, Any]) -> None:
        for _ in range(probe.get("failureThreshold") or 3):
            if await self._passes(probe):
                return
            await asyncio.sleep(probe.get("periodSeconds") or 10)
        self._signal(SIGKILL)
        await asyncio.Event().wait()  # its pod notices that the process has ended, and cancels this

    async def _keep_ready(self, probe: dict[str, Any]) -> None:
        failed = 0
        while True:
            passed = await self._passes(probe)
            failed = 0 if passed else failed + 1
            if passed or failed >= (probe.get("failureThreshold") or 3):
                self.ready = passed
            # Like a kubelet, probe more often while the container is not ready.
            await asyncio.sleep(min(probe.get("periodSeconds") or 10, 10.0 if self.ready else 0.2))

    async def _keep_alive(self, probe: dict[str, Any]) -> None:
        failed = 0
        while True:
            failed = 0 if await self._passes(probe) else failed + 1
            if failed >= (probe.get("failureThreshold") or 3):
                self._signal(SIGKILL)
            await asyncio.sleep(probe.get("periodSeconds") or 10)

    async def _passes(self, probe: dict[str, Any]) -> bool:
        """Whether an HTTP probe passes; neither chart nor sidecar has other kinds."""
        ask = probe["httpGet"]
        port = ask["port"]
        if isinstance(port, str):
            port = next(each["containerPort"] for each in self.spec["ports"] if each.get("name") == port)
        try:
            async with httpx2.AsyncClient(trust_env=False, timeout=probe.get("timeoutSeconds") or 1) as client:
                return (await client.get(f"http://{self.ip}:{port}{ask.get('path') or '/'}")).status_code < 400
        except httpx2.HTTPError:
            return False
