"""`Pod`: one pod of the toy node, from its volumes to its end, and the status that it reports.

It does what a kubelet does: init containers run one after the other, native sidecars among them keep running, then the
app's containers start; sidecars end after these.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tests.cluster.node_container import Container
from tests.cluster.node_volumes import Given, NotThereError
from tests.support.servers.waiting import until

_LOOK_AGAIN = 0.05
_REFRESH_EVERY = 20
"""The number of looks at the containers between two refreshes of the volumes."""


class Pod:
    """`latest` is the API's object, kept up to date by the node; `report` writes a status."""

    def __init__(
        self,
        latest: dict[str, Any],
        ip: str,
        folder: Path,
        given: Given,
        report: Callable[[dict[str, Any]], Awaitable[None]],
        env: dict[str, str],
    ) -> None:
        self.latest, self.ip, self._folder, self._given, self._report, self._env = (
            latest,
            ip,
            folder,
            given,
            report,
            env,
        )
        self.containers: dict[str, Container] = {}
        self._phase, self._waiting, self._initialized = "Pending", "ContainerCreating", False
        self._reported: Any = None

    @property
    def deleting(self) -> bool:
        return "deletionTimestamp" in self.latest["metadata"]

    @property
    def ready(self) -> bool:
        """Whether Services may send connections to the pod."""
        lasting = [*self._sidecars(), *(each["name"] for each in self.latest["spec"]["containers"])]
        up = all(name in self.containers and self.containers[name].ready for name in lasting)
        return up and self._phase == "Running" and not self.deleting

    def _sidecars(self) -> list[str]:
        inits = self.latest["spec"].get("initContainers") or ()
        return [each["name"] for each in inits if each.get("restartPolicy") == "Always"]

    async def run(self) -> None:
        """Runs the pod until it is deleted and every process has ended."""
        life = asyncio.create_task(self._live())
        reports = asyncio.create_task(self._keep_reporting())
        try:
            await until(lambda: self.deleting or (life.done() and life.exception()), "its end", 3600)
            if life.done():
                await life
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            await self._end(float(self.latest["metadata"].get("deletionGracePeriodSeconds") or 0))
        finally:
            for task in (life, reports):
                task.cancel()
            await asyncio.gather(life, reports, return_exceptions=True)
            for container in self.containers.values():
                container.kill()

    async def _live(self) -> None:
        await self._fill()
        for spec in self.latest["spec"].get("initContainers") or ():
            container = await self._begun(spec)
            if spec.get("restartPolicy") == "Always":
                await self._until(partial(getattr, container, "started"))
            elif not await self._passed(container):
                self._phase = "Failed"
                return
        self._initialized = True
        for spec in self.latest["spec"]["containers"]:
            await self._begun(spec)
        self._phase = "Running"
        await self._watch()

    async def _fill(self) -> None:
        """Fills the pod's volumes, waiting until their sources exist."""
        for volume in self.latest["spec"].get("volumes") or ():
            await self._there(partial(self._given.fill, volume, self._volume(volume["name"])))

    async def _there(self, attempt: Callable[[], Awaitable[Any]]) -> Any:
        while True:
            try:
                return await attempt()
            except NotThereError as error:
                self._waiting = str(error)
                await asyncio.sleep(_LOOK_AGAIN)

    def _volume(self, name: str) -> Path:
        return self._folder / "volumes" / name

    async def _begun(self, spec: dict[str, Any]) -> Container:
        own = await self._there(lambda: self._given.environment(spec))
        mounts = {each["mountPath"]: self._mounted(each) for each in spec.get("volumeMounts") or ()}
        mounts["/etc/hosts"] = self._folder / "hosts"
        container = Container(spec, {**self._env, **own}, mounts, self._folder / spec["name"], self.ip)
        self.containers[container.name] = container
        container.start()
        return container

    def _mounted(self, mount: dict[str, Any]) -> Path:
        return self._volume(mount["name"]) / str(mount.get("subPath", ""))

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Waits for the condition; native sidecars that end meanwhile are started again."""
        while not condition():
            await self._restart_ended(self._sidecars())
            await asyncio.sleep(_LOOK_AGAIN)

    async def _passed(self, container: Container) -> bool:
        while True:
            await self._until(lambda: not container.running)
            if container.status == 0:
                return True
            if self.latest["spec"].get("restartPolicy") == "Never":
                return False
            await container.restart()

    async def _restart_ended(self, names: list[str]) -> None:
        for name in names:
            container = self.containers.get(name)
            if container and not container.running:
                await container.restart()

    async def _watch(self) -> None:
        """Waits until all of the app's containers have ended for good."""
        apps = [each["name"] for each in self.latest["spec"]["containers"]]
        policy = self.latest["spec"].get("restartPolicy") or "Always"
        looks = 0
        while True:
            looks += 1
            if looks % _REFRESH_EVERY == 0:
                await self._fill()
            again = [name for name in apps if policy == "Always" or (policy == "OnFailure" and self._failed(name))]
            await self._restart_ended([*self._sidecars(), *again])
            if policy != "Always" and not any(self.containers[name].running for name in apps):
                break
            await asyncio.sleep(_LOOK_AGAIN)
        for name in reversed(self._sidecars()):
            await self.containers[name].stop(30)
        self._phase = "Failed" if any(self._failed(name) for name in apps) else "Succeeded"

    def _failed(self, name: str) -> bool:
        return self.containers[name].status not in {0, None}

    async def _end(self, grace: float) -> None:
        apps = [each for name, each in self.containers.items() if name not in self._sidecars()]
        await asyncio.gather(*(each.stop(grace) for each in apps))
        for name in reversed(self._sidecars()):
            if name in self.containers:
                await self.containers[name].stop(grace)

    async def _keep_reporting(self) -> None:
        while True:
            status = self._status()
            if status != self._reported:
                await self._report(_dated(status))
                self._reported = status
            await asyncio.sleep(_LOOK_AGAIN)

    def _status(self) -> dict[str, Any]:
        spec = self.latest["spec"]
        conditions = {
            "PodScheduled": True,
            "Initialized": self._initialized,
            "ContainersReady": self.ready,
            "Ready": self.ready,
        }
        return {
            "phase": self._phase,
            "podIP": self.ip,
            "podIPs": [{"ip": self.ip}],
            "conditions": [{"type": name, "status": str(value)} for name, value in conditions.items()],
            "initContainerStatuses": [self._of(each) for each in spec.get("initContainers") or ()],
            "containerStatuses": [self._of(each) for each in spec["containers"]],
        }

    def _of(self, spec: dict[str, Any]) -> dict[str, Any]:
        found = self.containers.get(spec["name"])
        state: dict[str, Any] = {"waiting": {"reason": self._waiting}}
        if found and found.running:
            state = {"running": {}}
        elif found:
            state = {"terminated": {"exitCode": found.status, "reason": "Error" if found.status else "Completed"}}
        return {
            "name": spec["name"],
            "image": spec["image"],
            "imageID": spec["image"],
            "ready": bool(found and (found.ready or (not found.running and found.status == 0))),
            "started": bool(found and found.started),
            "restartCount": found.restarts if found else 0,
            "state": state,
        }


def _dated(status: dict[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = [{**each, "lastTransitionTime": now} for each in status["conditions"]]
    return {**status, "startTime": now, "conditions": conditions}
