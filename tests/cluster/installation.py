"""`Installation`: the chart, installed by a real Helm, and its webhook, run as processes as the Deployment says.

This module does what a node would do: the container's environment, a token of its account, the Service's address.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.chart.tools import CHART, ROOT, tool
from tests.cluster.control_plane import ControlPlane
from tests.support.servers.children import Child, free_port

SYSTEM = "system"


class Replica:
    """One process of the webhook."""

    def __init__(self, child: Child, probe_port: int) -> None:
        self.child, self.probe_port = child, probe_port

    def get(self, path: str) -> tuple[int, str]:
        """The status and text of a page of its probes; (0, "") while nothing listens."""
        try:
            found = httpx2.get(f"http://127.0.0.1:{self.probe_port}{path}", trust_env=False, timeout=5)
        except httpx2.HTTPError:
            return 0, ""
        return found.status_code, found.text

    def ready(self) -> bool:
        self.child.require_running()
        return self.get("/readyz")[0] == 200


class Installation:
    """One release; `name` is the name of the webhook's objects. `program` is helm (version 4) or helm3; its default is
    the variable HELM.
    """

    def __init__(
        self, plane: ControlPlane, release: str = "mcp", namespace: str = SYSTEM, program: str | None = None
    ) -> None:
        self.plane, self.release, self.namespace = plane, release, namespace
        self.program = program or os.environ.get("HELM") or "helm"
        self.name = f"{release}-media-cache-proxy-injector"
        self.configuration = f"{namespace}-{self.name}"
        self.webhooks = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{self.configuration}"

    def helm(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Runs Helm as an administrator."""
        command = [tool(self.program), *map(str, arguments), "--namespace", self.namespace]
        env = {**os.environ, "KUBECONFIG": str(self.plane.kubeconfig())}
        return subprocess.run(command, check=False, capture_output=True, text=True, env=env, timeout=120)

    def install(self, *arguments: str | Path, verb: tuple[str, ...] = ("upgrade", "--install")) -> str:
        """Installs or upgrades without --wait; raises AssertionError with Helm's output if it fails."""
        done = self.helm(*verb, self.release, CHART, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kubectl(self, *arguments: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
        command = [tool("kubectl"), "--kubeconfig", str(self.plane.kubeconfig()), *map(str, arguments)]
        return subprocess.run(command, check=False, capture_output=True, text=True, input=given, timeout=60)

    def environment(self) -> dict[str, str]:
        """The environment of the webhook's container, as the API server has it."""
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{self.name}"
        (container,) = self.plane.call("GET", path).body["spec"]["template"]["spec"]["containers"]
        return {entry["name"]: entry.get("value", "") for entry in container["env"]}

    @contextmanager
    def replica(self, **more: str) -> Iterator[Replica]:
        """The webhook at its Service's address, once it is ready; `more` overrides the chart's environment."""
        with self.process(**more) as started:
            self.plane.wait(started.ready, "the webhook to be ready")
            yield started

    @contextmanager
    def process(self, **more: str) -> Iterator[Replica]:
        """The webhook, ready or not."""
        service = self.plane.call("GET", f"/api/v1/namespaces/{self.namespace}/services/{self.name}").body
        token = self.plane.token(self.namespace, self.name)
        probe_port = free_port()
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "KUBECONFIG": str(self.plane.kubeconfig(self.name, token)),
            **self.environment(),
            "WEBHOOK_LISTEN_ADDR": f"{service['spec']['clusterIP']}:443",
            "PROBE_ADDR": f"127.0.0.1:{probe_port}",
            "DRAIN_TIME": "0",
            **more,
        }
        command = [sys.executable, "-m", "proxy", "webhook"]
        child = Child("the webhook", command, Path(tempfile.mkdtemp(prefix="test-webhook-")), env)
        child.spawn()
        try:
            yield Replica(child, probe_port)
        finally:
            child.kill()

    def bundles(self) -> list[str]:
        """The caBundle of each webhook, as stored."""
        hooks: list[dict[str, Any]] = self.plane.call("GET", self.webhooks).body["webhooks"]
        return [hook["clientConfig"].get("caBundle", "") for hook in hooks]

    def injects(self, namespace: str = "default") -> bool:
        """Whether a dry run of a pod that asks for the sidecar comes back with it."""
        answer = self.plane.call("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod())
        return answer.status == 201 and sidecar(answer.body) is not None


def pod(annotations: dict[str, str] | None = None, name: str = "x", **spec: Any) -> dict[str, Any]:
    """A small pod that asks for the sidecar; annotations of ours are given without their prefix."""
    app = {"name": "app", "image": "app:1", "env": [{"name": "MEDIA_SERVICE_ADDR", "value": "media:50056"}]}
    wishes = {"inject": "true"} if annotations is None else annotations
    notes = {f"media-cache-proxy.io/{key}": value for key, value in wishes.items()}
    return {"metadata": {"name": name, "annotations": notes}, "spec": {"containers": [app], **spec}}


def sidecar(found: dict[str, Any]) -> dict[str, Any] | None:
    """The injected container of a pod, if it has one."""
    spec = found.get("spec", {})
    every = [*spec.get("initContainers", ()), *spec.get("containers", ())]
    return next((each for each in every if each["name"] == "media-cache-proxy"), None)
