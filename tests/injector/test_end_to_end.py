"""A pod's whole way without a cluster: the AdmissionReview over TLS, the patch, and the sidecar run as the patch says.

The webhook and the sidecar are real processes, the media service is the reference one, Redis is real. The test does for
the sidecar what a kubelet does: it resolves its environment, starts its command and probes it.
"""

import asyncio
import copy
import os
import re
import shutil
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import jsonpatch
import kubernetes_validate
import pytest

from examples.media_service import server as media_service
from examples.media_service.settings import MediaSettings
from tests.injector.fake_api import FakeApi
from tests.injector.pods import app, complete
from tests.injector.reviews import patch_of, review
from tests.injector.webhook_process import NAME, ROOT, line, process
from tests.support.calling import Gateway
from tests.support.servers.children import Child, free_port
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

CONFIG_MAP = "media-address"


def kubelet_environment(container: dict[str, Any], config_maps: dict[str, dict[str, str]]) -> dict[str, str]:
    """A container's environment as a kubelet makes it: in order, `$(X)` from what is defined before."""
    known: dict[str, str] = {}
    for entry in container["env"]:
        source = entry.get("valueFrom") or {}
        if "configMapKeyRef" in source:
            reference = source["configMapKeyRef"]
            known[entry["name"]] = config_maps[reference["name"]][reference["key"]]
        elif not source:
            known[entry["name"]] = re.sub(
                r"\$\$|\$\(([^)]*)\)",
                lambda found: "$" if found[1] is None else known.get(found[1], found[0]),
                entry.get("value", ""),
            )
    return known


@asynccontextmanager
async def sidecar_of(pod: dict[str, Any], config_maps: dict[str, dict[str, str]], folder: Path) -> AsyncIterator[Child]:
    """The sidecar, started by its own command, environment and ports, once its startup probe passes."""
    container = app(pod, "media-cache-proxy")
    bin_folder = Path(sys.executable).parent
    program = shutil.which(container["command"][0], path=str(bin_folder))
    assert program, f"no {container['command'][0]} in {bin_folder}"
    path = f"{bin_folder}:{os.environ['PATH']}"
    env = {"PATH": path, "PYTHONPATH": str(ROOT), **kubelet_environment(container, config_maps)}
    child = Child("the sidecar", [program, *container["args"]], folder, env)
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    probe = container["startupProbe"]["httpGet"]
    url = f"http://127.0.0.1:{ports[probe['port']]}{probe['path']}"

    async def started() -> bool:
        child.require_running()
        try:
            async with aiohttp.ClientSession() as session, session.get(url) as response:
                return response.status == 200
        except aiohttp.ClientConnectionError:
            return False

    child.spawn()
    try:
        await until(started, f"the startup probe {url}")
        yield child
    finally:
        if child.running:
            await child.stop()


async def admit(pod: dict[str, Any], api: FakeApi, port: object, **more: Any) -> dict[str, Any]:
    """The pod as the API server would store it."""
    context = ssl.create_default_context(cadata=api.bundle().decode())
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"https://127.0.0.1:{port}/mutate", json=review(pod, **more), ssl=context, server_hostname=NAME
        ) as response,
    ):
        answer = await response.json()
    assert answer["response"]["allowed"] is True, answer
    result = jsonpatch.apply_patch(copy.deepcopy(pod), patch_of(answer))
    kubernetes_validate.validate(complete(result), kubernetes_validate.latest_version(), strict=True)
    assert isinstance(result, dict)
    return result


@pytest.fixture
async def media() -> AsyncIterator[str]:
    settings = MediaSettings(listen_addr="127.0.0.1:0", latency=0, seed=True, rabbitmq_addr=())
    async with media_service.running(settings) as running:
        yield running.address


ENTRIES: dict[str, list[dict[str, Any]]] = {
    "literal": [{"name": "MEDIA_SERVICE_ADDR", "value": "{addr}"}],
    "with-a-scheme": [{"name": "MEDIA_SERVICE_ADDR", "value": "dns:///{addr}"}],
    "passthrough": [{"name": "MEDIA_SERVICE_ADDR", "value": "passthrough:///{addr}"}],
    "chain": [
        {"name": "MEDIA_HOST", "value": "{host}"},
        {"name": "MEDIA_TARGET", "value": "$(MEDIA_HOST):{port}"},
        {"name": "MEDIA_SERVICE_ADDR", "value": "dns:///$(MEDIA_TARGET)"},
    ],
    "config-map": [
        {"name": "MEDIA_SERVICE_ADDR", "valueFrom": {"configMapKeyRef": {"name": CONFIG_MAP, "key": "addr"}}}
    ],
}


WAYS = {
    "container-mode": (ENTRIES["literal"], "v1.30.0"),
    **{name: (each, "v1.37.0") for name, each in ENTRIES.items()},
}


@pytest.mark.parametrize(("entries", "version"), WAYS.values(), ids=WAYS)
async def test_the_patched_pods_app_reads_through_its_sidecar(
    entries: list[dict[str, Any]], version: str, api: FakeApi, media: str, redis: RedisServer, tmp_path: Path
) -> None:
    api.version = version
    host, _, port = media.rpartition(":")
    env = [
        {**each, **({"value": each["value"].format(addr=media, host=host, port=port)} if "value" in each else {})}
        for each in entries
    ]
    wishes = {"inject": "true", "redis-addr": redis.addr, "rabbitmq-addr": "", "log-level": "debug"}
    # The ports are free ones of this machine, which other tests share; in a pod they would be the defaults.
    wishes |= {name: str(free_port()) for name in ("port", "probe-port", "admin-port")}
    pod = {
        "metadata": {
            "generateName": "gateway-",
            "annotations": {f"media-cache-proxy.io/{name}": text for name, text in wishes.items()},
        },
        "spec": {"containers": [{"name": "app", "image": "gateway:1", "env": env}]},
    }
    async with asyncio.timeout(60), process() as webhook:
        ports = await line(webhook, "listening")
        await line(webhook, "serving a certificate")
        patched = await admit(pod, api, ports["admissions"])
        assert await admit(pod, api, ports["admissions"], dryRun=True) == patched
        assert await admit(patched, api, ports["admissions"]) == patched

    config_maps = {CONFIG_MAP: {"addr": media}}
    address = kubelet_environment(app(patched, "app"), config_maps)["MEDIA_SERVICE_ADDR"]
    native = version == "v1.37.0"
    assert app(patched, "media-cache-proxy").get("restartPolicy") == ("Always" if native else None)
    assert address.removeprefix("dns:///").removeprefix("passthrough:///") == f"127.0.0.1:{wishes['port']}"
    # grpc-go knows `passthrough`; the C core client used here does not.
    target = address.removeprefix("passthrough:///")
    async with sidecar_of(patched, config_maps, tmp_path), Gateway(target) as gateway:
        first = await gateway.read("user", 123)
        assert (first.x_cache, first.response.success, len(first.uuids)) == ("miss", True, 1)

        async def hit() -> bool:
            return (await gateway.read("user", 123)).x_cache == "hit"

        await until(hit, "a hit: fills are off the caller's path")
        assert (await gateway.read("user", 123)).uuids == first.uuids
