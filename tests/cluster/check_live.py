"""The chart on a node that runs what it deploys: `helm install --wait`, `helm test`, pods with sidecars, rollouts."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.chart.tools import CHART, ROOT
from tests.cluster.installation import SYSTEM, Installation, pod, sidecar
from tests.cluster.node import Node
from tests.support.servers.redis import RedisServer

pytestmark = pytest.mark.timeout(400)  # the first test also installs and waits
SHOP = "shop"
MERGE = "application/merge-patch+json"
_CALLER = """
import os, time, grpc
from proxy.pb import media_pb2, media_pb2_grpc
stub = media_pb2_grpc.MediaServiceStub(grpc.insecure_channel(os.environ["MEDIA_SERVICE_ADDR"]))
asked = media_pb2.GetFilesByModelRequest(model_type="user", model_id=int(os.environ["MODEL"]), page=1, per_page=1)
for _ in range(2):
    found, call = stub.GetFilesByModel.with_call(asked, timeout=30, wait_for_ready=True)
    print("answer", found.success, dict(call.trailing_metadata()).get("x-cache"), flush=True)
"""
_OF_TWO = (
    _CALLER
    + """
from examples.pb import product_pb2, product_pb2_grpc
products = product_pb2_grpc.ProductServiceStub(grpc.insecure_channel(os.environ["PRODUCT_SERVICE_ADDR"]))
every = product_pb2.GetAllProductsRequest()
for _ in range(2):
    found, call = products.GetAllProducts.with_call(every, timeout=30, wait_for_ready=True)
    print("products", found.success, dict(call.trailing_metadata()).get("x-cache"), flush=True)
"""
)
_SERVING = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit()); signal.pause()"


def values(*settings: str) -> list[str]:
    return [each for setting in settings for each in ("--set", setting)]


def said(installation: Installation, node: Node) -> str:
    """The logs of a release's pods, for a failure's message."""
    return "".join(
        each.log for found in node.pods(installation.namespace).values() for each in found.containers.values()
    )


def installed_in(node: Node, namespace: str, *more: str) -> Installation:
    found = Installation(node.plane, namespace=namespace)
    done = found.helm("install", found.release, CHART, "--wait", "--timeout", "120s", *more)
    assert done.returncode == 0, done.stderr + said(found, node)
    return found


@pytest.fixture(scope="module")
def installed(live: Node) -> Installation:
    return installed_in(live, SYSTEM)


@pytest.fixture(scope="module")
def shop(live: Node, installed: Installation, session_redis: RedisServer) -> str:
    """A namespace with the reference media service, and a Secret that says where Redis is."""
    live.plane.namespace(SHOP)
    redis = f"localhost:{session_redis.port}"
    path = f"/api/v1/namespaces/{SHOP}"
    live.plane.make(f"{path}/secrets", {"metadata": {"name": "media-cache-proxy"}, "stringData": {"redis-addr": redis}})
    serve(live, "media", 50056)
    return SHOP


def serve(node: Node, name: str, port: int) -> None:
    """Runs one of the reference stack's services, with a Service of the same name."""
    path = f"/api/v1/namespaces/{SHOP}"
    service = {"selector": {"app": name}, "ports": [{"port": port, "targetPort": port}]}
    node.plane.make(f"{path}/services", {"metadata": {"name": name}, "spec": service})
    env = [{"name": "LISTEN_ADDR", "value": f"0.0.0.0:{port}"}, {"name": "PYTHONPATH", "value": str(ROOT)}]
    command = ["python", "-m", f"examples.{name}_service"]
    spec = {"containers": [{"name": name, "image": "x:1", "command": command, "env": env}]}
    node.plane.make(f"{path}/pods", {"metadata": {"name": name, "labels": {"app": name}}, "spec": spec})
    node.plane.wait(lambda: name in node.pods(SHOP) and node.pods(SHOP)[name].ready, f"the {name} service")


def template(script: str, wishes: dict[str, str], model: int = 1, **spec: Any) -> dict[str, Any]:
    """A pod template whose app runs a script."""
    found = pod(wishes, **spec)
    (app,) = found["spec"]["containers"]
    app |= {"command": ["python", "-c", script]}
    app["env"] = [{"name": "MEDIA_SERVICE_ADDR", "value": "media:50056"}, {"name": "MODEL", "value": str(model)}]
    found["metadata"] = {"annotations": found["metadata"]["annotations"], "labels": {"app": "gateway"}}
    return found


def job(node: Node, name: str, found: dict[str, Any]) -> Callable[[], Any]:
    """Creates a Job; the returned function gives the counts in its status."""
    path = f"/apis/batch/v1/namespaces/{SHOP}/jobs"
    node.plane.make(path, {"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": found}})
    return lambda: {**node.plane.call("GET", f"{path}/{name}").body.get("status", {})}


def logs(node: Node, name: str, container: str = "app") -> str:
    """The logs of the only pod whose name begins with `name`."""
    (found,) = [each for key, each in node.pods(SHOP).items() if key.startswith(name)]
    return found.containers[container].log


def test_install_waits_until_both_replicas_are_up(live: Node, installed: Installation) -> None:
    found = live.pods(SYSTEM).values()
    assert [each.ready for each in found] == [True, True]
    assert len({each.ip for each in found}) == 2


def test_helm_test(live: Node, installed: Installation) -> None:
    done = installed.helm("test", installed.release, "--timeout", "60s")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [name for name in live.pods(SYSTEM) if "-test" in name], "the pods of the test are removed"


STRICT: dict[str, tuple[list[tuple[str, dict[str, Any]]], dict[str, str], list[str]]] = {
    "restricted": ([], {"pod-security.kubernetes.io/enforce": "restricted"}, []),
    "quota": (
        [
            (
                "resourcequotas",
                {"limits.cpu": "2", "limits.memory": "2Gi", "requests.cpu": "2", "requests.memory": "2Gi", "pods": "9"},
            )
        ],
        {},
        values("injector.resources.limits.cpu=500m"),
    ),
}


@pytest.mark.parametrize("name", STRICT)
def test_helm_test_in_a_strict_namespace(name: str, live: Node, installed: Installation) -> None:
    demanded, labels, more = STRICT[name]
    namespace = live.plane.namespace(f"strict-{name}")
    live.plane.call("PATCH", f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": labels}}, kind=MERGE)
    for kind, hard in demanded:
        body = {"metadata": {"name": "strict"}, "spec": {"hard": hard}}
        live.plane.make(f"/api/v1/namespaces/{namespace}/{kind}", body)
    own = installed_in(live, namespace, *more)
    done = own.helm("test", own.release, "--timeout", "60s")
    assert done.returncode == 0, done.stdout + done.stderr
    assert own.helm("uninstall", own.release, "--wait").returncode == 0


def test_a_job_asks_through_its_sidecar_and_ends(live: Node, shop: str) -> None:
    """Its init container calls through the sidecar too, since a native sidecar starts first."""
    found = template(_CALLER, {"inject": "true", "mode": "native"}, model=7, restartPolicy="Never")
    app = found["spec"]["containers"][0]
    found["spec"]["initContainers"] = [{**app, "name": "warm"}]
    status = job(live, "import", found)
    live.plane.wait(lambda: status().get("succeeded") or status().get("failed"), "the Job", 60)
    assert status().get("succeeded") == 1, logs(live, "import")
    assert logs(live, "import", "warm") == "answer True miss\nanswer True hit\n"
    assert logs(live, "import") == "answer True hit\nanswer True hit\n"


def deployment(node: Node, name: str, found: dict[str, Any]) -> Callable[[], int]:
    """Creates a Deployment with one replica; the returned function gives the number of ready ones."""
    found["metadata"]["labels"] = {"app": name}
    path = f"/apis/apps/v1/namespaces/{SHOP}/deployments"
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": found}
    node.plane.make(path, {"metadata": {"name": name}, "spec": spec})
    return lambda: int(node.plane.call("GET", f"{path}/{name}").body.get("status", {}).get("readyReplicas", 0))


def test_a_sidecar_ends_by_itself_when_its_pod_does(live: Node, shop: str) -> None:
    ready = deployment(live, "gateway", template(_SERVING, {"inject": "true"}))
    live.plane.wait(ready, "the app", 60)
    (name, found), *others = [each for each in live.pods(SHOP).items() if each[0].startswith("gateway")]
    assert not others
    live.plane.call("DELETE", f"/apis/apps/v1/namespaces/{SHOP}/deployments/gateway")
    live.plane.wait(lambda: name not in live.pods(SHOP), "its end", 60)
    assert found.containers["media-cache-proxy"].status == 0, found.containers["media-cache-proxy"].log


@pytest.mark.parametrize(
    ("name", "address", "bad"),
    [("mistyped", "redis://redis:port/0", "1.0"), ("missing", None, "0.0")],
)
def test_an_app_starts_whatever_its_secret_holds(
    name: str, address: str | None, bad: str, live: Node, shop: str
) -> None:
    if address is not None:
        body = {"metadata": {"name": name}, "stringData": {"redis-addr": address}}
        live.plane.make(f"/api/v1/namespaces/{SHOP}/secrets", body)
    wishes = {"inject": "true", "redis-secret": name, "mode": "native"}
    status = job(live, f"with-{name}", template(_CALLER, wishes, restartPolicy="Never"))
    live.plane.wait(lambda: status().get("succeeded") or status().get("failed"), "the Job", 60)
    assert status().get("succeeded") == 1, logs(live, f"with-{name}")
    assert "answer True" in logs(live, f"with-{name}")
    assert "hit" not in logs(live, f"with-{name}")
    assert ("REDIS_ADDR" in logs(live, f"with-{name}", "media-cache-proxy")) is (bad == "1.0")


class Creating(threading.Thread):
    """Creates pods that ask for the sidecar, one after the other (dry runs), while something else happens."""

    def __init__(self, installation: Installation) -> None:
        super().__init__()
        self._installation, self._enough = installation, threading.Event()
        self.without, self.created = 0, 0

    def run(self) -> None:
        path = "/api/v1/namespaces/default/pods?dryRun=All"
        while not self._enough.wait(0.02):
            answer = self._installation.plane.call("POST", path, pod())
            self.created += 1
            self.without += answer.status != 201 or sidecar(answer.body) is None

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self.join()

    def __enter__(self) -> "Creating":
        self.start()
        return self


def test_no_pod_misses_its_sidecar_while_the_webhook_rolls(live: Node, installed: Installation) -> None:
    with Creating(installed) as creating:
        more = values("injector.podAnnotations.rolled=yes")
        done = installed.helm("upgrade", installed.release, CHART, "--wait", "--timeout", "120s", *more)
        assert done.returncode == 0, done.stderr
    assert creating.created > 20
    assert creating.without == 0


def test_a_contradiction_leaves_the_old_replicas_at_work(live: Node, installed: Installation) -> None:
    """Step by step as a person would see it: the upgrade fails, nobody else notices, a rollback repairs it."""
    resources = json.dumps({"resources": {"limits": {"memory": "100Mi"}}})
    wrong = ["--set-json", f"sidecar={resources}", "--wait", "--timeout", "10s"]
    with Creating(installed) as creating:
        assert installed.helm("upgrade", installed.release, CHART, *wrong).returncode != 0
        assert "SIDECAR_MEMORY_LIMIT: '100Mi' is below" in said(installed, live)
        done = installed.helm("rollback", installed.release, "--wait", "--timeout", "120s")
        assert done.returncode == 0, done.stderr
    assert (creating.created > 20, creating.without) == (True, 0)


def test_one_sidecar_serves_what_a_policy_lists(live: Node, installed: Installation, shop: str) -> None:
    """The chart puts the policy into the app's namespace; each service has a variable, and the sidecar its original."""
    own = json.dumps([{"name": "catalogue", "shipped": "product", "namespaces": [shop]}])
    done = installed.helm("upgrade", installed.release, CHART, "--wait", "--set-json", f"policies={own}")
    assert done.returncode == 0, done.stderr
    serve(live, "product", 50055)
    found = template(_OF_TWO, {"inject": "true", "mode": "native", "policy": "catalogue"}, 8, restartPolicy="Never")
    (app,) = found["spec"]["containers"]
    app["env"] += [
        {"name": "PRODUCT_SERVICE_ADDR", "value": "product:50055"},
        {"name": "PYTHONPATH", "value": str(ROOT)},
    ]
    status = job(live, "of-two", found)
    live.plane.wait(lambda: status().get("succeeded") or status().get("failed"), "the Job", 60)
    said = "answer True miss\nanswer True hit\nproducts True miss\nproducts True hit\n"
    assert logs(live, "of-two") == said, logs(live, "of-two", "media-cache-proxy")
