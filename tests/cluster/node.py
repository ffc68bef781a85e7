"""`Node`: a toy node. It takes every pod without a node (scheduler), runs its containers as processes with volumes,
probes and environment (kubelet), and forwards connections to Services (kube-proxy).

It runs in a thread with an event loop of its own, while tests only call the API server.
"""

import asyncio
import itertools
import tempfile
import threading
from pathlib import Path
from typing import Any

from tests.chart.tools import ROOT
from tests.cluster.control_plane import SELF, Answer, ControlPlane
from tests.cluster.node_pod import Pod
from tests.cluster.node_services import Services, Target
from tests.cluster.node_volumes import Given
from tests.support.servers.children import program

_LOOK_AGAIN = 0.05
NAME = "toy"
_MIRROR = "kubernetes.io/config.mirror"


class Node:
    """A node that lives for the block of `with Node(plane):`."""

    def __init__(self, plane: ControlPlane) -> None:
        program("bubblewrap", "bwrap")
        self.plane = plane
        self._folder = Path(tempfile.mkdtemp(prefix="test-node-"))
        self._pods: dict[str, Pod] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._addresses = (f"127.97.{high}.{low}" for high, low in itertools.product(range(256), range(1, 255)))
        self._services = Services(self._ready)
        self._ending = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="toy node")

    def __enter__(self) -> "Node":
        self.plane.make("/api/v1/nodes", {"metadata": {"name": NAME, "labels": {"kubernetes.io/os": "linux"}}})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        if self._failed:
            raise self._failed

    def pods(self, namespace: str) -> dict[str, Pod]:
        """The pods of a namespace, by name."""
        every = list(self._pods.values())
        return {each.latest["metadata"]["name"]: each for each in every if _namespace(each.latest) == namespace}

    def _run(self) -> None:
        try:
            asyncio.run(self._work())
        except BaseException as error:  # noqa: BLE001 -- raised again in the thread that ends the node
            self._failed = error

    async def _work(self) -> None:
        try:
            while not self._ending.is_set():
                await self._services.keep((await self._call("GET", "/api/v1/services")).body["items"])
                await self._look((await self._call("GET", "/api/v1/pods")).body["items"])
                await asyncio.sleep(_LOOK_AGAIN)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            await self._services.close()

    async def _call(self, *arguments: Any, **named: Any) -> Answer:
        return await asyncio.to_thread(self.plane.call, *arguments, **named)

    async def _look(self, items: list[dict[str, Any]]) -> None:
        """Updates each pod once, and forgets pods that are gone."""
        there = {each["metadata"]["uid"]: each for each in items}
        for uid, found in there.items():
            if uid in self._pods:
                self._pods[uid].latest = found
            elif not found["spec"].get("nodeName"):
                target = {"target": {"kind": "Node", "name": NAME}, "metadata": {"name": found["metadata"]["name"]}}
                await self._call("POST", f"{_path(found)}/binding", target)
            elif _MIRROR not in (found["metadata"].get("annotations") or {}):
                self._take(uid, found)
        for uid in list(self._tasks):
            if self._tasks[uid].done():
                await self._tasks[uid]
            if uid not in there:
                self._tasks[uid].cancel()
                await asyncio.gather(self._tasks.pop(uid), return_exceptions=True)
                del self._pods[uid]

    def _take(self, uid: str, found: dict[str, Any]) -> None:
        ip, folder = next(self._addresses), self._folder / uid
        folder.mkdir()
        (folder / "hosts").write_text(self._services.hosts())
        namespace = _namespace(found)

        async def ask(kind: str, name: str) -> dict[str, Any] | None:
            answer = await self._call("GET", f"/api/v1/namespaces/{namespace}/{kind}/{name}")
            return answer.body if answer.status == 200 else None

        async def token() -> str:
            account = found["spec"].get("serviceAccountName") or "default"
            path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
            bound = {"apiVersion": "v1", "kind": "Pod", "name": found["metadata"]["name"], "uid": uid}
            body = {"spec": {"audiences": ["https://kubernetes.default.svc"], "boundObjectRef": bound}}
            return str((await self._call("POST", path, body)).body["status"]["token"])

        async def report(status: dict[str, Any]) -> None:
            kind = "application/merge-patch+json"
            await self._call("PATCH", f"{_path(found)}/status", {"status": status}, kind=kind)

        pod = Pod(found, ip, folder, Given(found, ip, ask, token), report, self._environment())
        self._pods[uid] = pod
        self._tasks[uid] = asyncio.create_task(self._life(pod, found))

    async def _life(self, pod: Pod, found: dict[str, Any]) -> None:
        await pod.run()
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": found["metadata"]["uid"]}}
        await self._call("DELETE", _path(found), options)

    def _environment(self) -> dict[str, str]:
        """The environment that the image and any Kubernetes provide."""
        return {
            "PATH": f"{ROOT}/.venv/bin:/usr/local/bin:/usr/bin:/bin",
            "HOME": "/",
            "KUBERNETES_SERVICE_HOST": SELF,
            "KUBERNETES_SERVICE_PORT": "443",
        }

    def _ready(self, service: dict[str, Any], port: dict[str, Any]) -> list[Target]:
        if service["metadata"]["name"] == "kubernetes" and _namespace(service) == "default":
            return [("127.0.0.1", self.plane.port)]
        wanted = (service["spec"].get("selector") or {}).items()
        return [
            (pod.ip, _number(pod, port.get("targetPort", port["port"])))
            for pod in self._pods.values()
            if wanted
            and _namespace(pod.latest) == _namespace(service)
            and wanted <= (pod.latest["metadata"].get("labels") or {}).items()
            and pod.ready
        ]


def _number(pod: Pod, port: int | str) -> int:
    if isinstance(port, int):
        return port
    every = [each for container in pod.latest["spec"]["containers"] for each in container.get("ports") or ()]
    return int(next(each["containerPort"] for each in every if each.get("name") == port))


def _namespace(found: dict[str, Any]) -> str:
    return str(found["metadata"]["namespace"])


def _path(found: dict[str, Any]) -> str:
    return f"/api/v1/namespaces/{_namespace(found)}/pods/{found['metadata']['name']}"
