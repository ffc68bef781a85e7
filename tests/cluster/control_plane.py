"""`ControlPlane`: a real etcd and kube-apiserver (RBAC, audit log, admission plugins) of one test run.

The binaries are in the folder `KUBEBUILDER_ASSETS`, a variable that controller-runtime's `setup-envtest` prints. If a
kube-controller-manager is there too, ReplicaSets and quotas work. Services get addresses of 127.0.0.0/8, so that the
API server reaches a webhook by the Service reference that the chart renders.
"""

import asyncio
import json
import os
import ssl
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from proxy.injector.versions import Version, parse_version
from tests.support.servers.children import Child, free_port
from tests.support.servers.server import Startable
from tests.support.servers.waiting import until

VARIABLE = "KUBEBUILDER_ASSETS"
NEEDED = ("etcd", "kube-apiserver")
CONTROLLERS = "kube-controller-manager"
"""The program that also runs if it is there."""
_TOKEN = "admin-token"
_SERVICES = "127.96.0.0/16"
SELF = "127.96.0.1"
"""The address at which pods find the API server: the first one of the Services' range."""


def assets() -> Path:
    """The folder of the binaries; raises FileNotFoundError with one line if there is none."""
    folder = Path(os.environ.get(VARIABLE) or "/nowhere")
    missing = [name for name in NEEDED if not os.access(folder / name, os.X_OK)]
    if missing:
        raise FileNotFoundError(
            f"{VARIABLE}={os.environ.get(VARIABLE, '')} has no {', '.join(missing)}; install them: "
            "go run sigs.k8s.io/controller-runtime/tools/setup-envtest@latest use, then export what it prints: "
            f"export {VARIABLE}=…"
        )
    return folder


class Answer(NamedTuple):
    """An answer of the API server; `warnings` are as kubectl would show them."""

    status: int
    body: dict[str, Any]
    warnings: list[str]

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))


class ControlPlane(Startable):
    """One API server with its etcd; `call` sends requests as an administrator."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="test-cluster-"))
        self.assets = assets()
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self._children: list[Child] = []
        self.client: httpx2.Client | None = None

    async def start(self) -> Self:
        store = f"http://127.0.0.1:{free_port()}"
        peer = f"http://127.0.0.1:{free_port()}"
        self._spawn(
            "etcd", "--data-dir", f"{self.directory}/etcd", "--unsafe-no-fsync", "--listen-client-urls", store,
            "--advertise-client-urls", store, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", f"default={peer}", "--log-level", "error",
        )  # fmt: skip
        self._write_keys()
        self._spawn(
            "kube-apiserver", "--etcd-servers", store, "--secure-port", str(self.port),
            "--bind-address", "127.0.0.1", "--advertise-address", "192.0.2.1", "--endpoint-reconciler-type", "none",
            "--cert-dir", f"{self.directory}/tls", "--token-auth-file", f"{self.directory}/tokens.csv",
            "--authorization-mode", "RBAC", "--service-cluster-ip-range", _SERVICES,
            "--service-account-key-file", f"{self.directory}/sa.pem",
            "--service-account-signing-key-file", f"{self.directory}/sa.pem",
            "--service-account-issuer", "https://kubernetes.default.svc", "--allow-privileged",
            "--audit-policy-file", f"{self.directory}/audit.yaml", "--audit-log-path", f"{self.directory}/audit.log",
            "--v", "1",
        )  # fmt: skip
        self._connect()
        await until(self._ready, "the API server", 120)
        if (self.assets / CONTROLLERS).exists():
            self._spawn(
                CONTROLLERS, "--kubeconfig", str(self.kubeconfig("admin", _TOKEN)),
                "--service-account-private-key-file", f"{self.directory}/sa.pem", "--leader-elect=false",
                "--root-ca-file", f"{self.directory}/tls/apiserver.crt", "--secure-port", "0",
                "--resource-quota-sync-period", "2s",
                # Nodes here have no heartbeat, and Endpoints do not accept addresses of 127.0.0.0/8.
                "--controllers", "*,-node-lifecycle-controller,-endpoints-controller,-endpointslice-controller",
            )  # fmt: skip
        return self

    @property
    def controllers(self) -> bool:
        """Whether a kube-controller-manager runs, so that Deployments make pods."""
        return any(child.name == CONTROLLERS for child in self._children)

    @cached_property
    def version(self) -> Version:
        """The API server's version."""
        return parse_version(self.call("GET", "/version").body["gitVersion"])

    def remove(self) -> None:
        for child in reversed(self._children):
            child.kill()
        if self.client:
            self.client.close()

    def call(
        self, method: str, path: str, body: Any = None, *, token: str = "", kind: str = "application/json"
    ) -> Answer:
        """Sends one request; raises nothing, whatever the status."""
        assert self.client
        headers = {"Content-Type": kind, **({"Authorization": f"Bearer {token}"} if token else {})}
        content = None if body is None else json.dumps(body)
        found = self.client.request(method, path, content=content, headers=headers)
        warnings = [each.split('"', 1)[1].rsplit('"', 1)[0] for each in found.headers.get_list("warning")]
        is_json = found.headers.get("content-type", "").startswith("application/json")
        return Answer(found.status_code, found.json() if is_json else {"message": found.text}, warnings)

    def make(self, path: str, body: Any) -> dict[str, Any]:
        """Creates an object; raises AssertionError with the server's answer if that fails."""
        answer = self.call("POST", path, body)
        assert answer.status < 300, answer.body
        return answer.body

    def namespace(self, name: str, **labels: str) -> str:
        """Creates a namespace with the account that its pods run as, and returns its name. Labels of ours are given
        without their prefix.
        """
        named = {f"media-cache-proxy.io/{key}": value for key, value in labels.items()}
        if name != "default":
            self.make("/api/v1/namespaces", {"metadata": {"name": name, "labels": named}})
        if not self.controllers:
            self.make(f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}})
            return name
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        self.wait(lambda: self.call("GET", account).status == 200, f"the account of {name}")
        return name

    def wait(self, condition: Any, what: str, timeout: float = 30) -> None:
        """Returns once the condition is true."""
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            runner.run(until(condition, what, timeout))

    def token(self, namespace: str, account: str) -> str:
        """A token as the TokenRequest API gives it to a pod of the account."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        return str(self.make(path, {"spec": {"audiences": ["https://kubernetes.default.svc"]}})["status"]["token"])

    def kubeconfig(self, user: str = "admin", token: str = _TOKEN) -> Path:
        """The path of a kubeconfig for kubectl, Helm and the webhook."""
        path = self.directory / f"{user}.kubeconfig"
        cluster = {"server": self.url, "certificate-authority": f"{self.directory}/tls/apiserver.crt"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
        path.write_text(json.dumps(config))
        return path

    def audit(self, *, user: str = "") -> list[dict[str, Any]]:
        """The audit log's events, of one user if `user` is given."""
        lines = (self.directory / "audit.log").read_text().splitlines()
        events = [json.loads(line) for line in lines if line.endswith("}")]
        return [each for each in events if not user or each["user"].get("username") == user]

    def _write_keys(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self.directory / "sa.pem").write_bytes(pem)
        (self.directory / "tokens.csv").write_text(f'{_TOKEN},admin,admin,"system:masters"\n')
        policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}
        (self.directory / "audit.yaml").write_text(json.dumps(policy))

    def _spawn(self, name: str, *arguments: str) -> None:
        child = Child(name, [str(self.assets / name), *arguments], self.directory / f"of-{name}")
        child.spawn()
        self._children.append(child)

    def _connect(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # its certificate does not exist yet
        headers = {"Authorization": f"Bearer {_TOKEN}"}
        self.client = httpx2.Client(base_url=self.url, verify=context, headers=headers, timeout=60, trust_env=False)

    def _ready(self) -> bool:
        for child in self._children:
            child.require_running()
        assert self.client
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx2.HTTPError:
            return False
