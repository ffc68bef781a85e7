"""The webhook as a process: started by its command, called over TLS, ended by SIGTERM."""

import asyncio
import json
import signal
import ssl
from pathlib import Path

import aiohttp
import pytest

from proxy import __version__
from tests.injector.fake_api import FakeApi
from tests.injector.pods import GOLDEN, load
from tests.injector.reviews import patch_of, review
from tests.injector.webhook_process import NAME, line, process


async def test_it_serves_admissions_until_sigterm(api: FakeApi) -> None:
    pod = load(GOLDEN[0])["given"]["pod"]
    async with asyncio.timeout(30), process() as started, aiohttp.ClientSession() as session:
        ports = await line(started, "listening")
        await line(started, "serving a certificate")
        async with session.post(
            f"https://127.0.0.1:{ports['admissions']}/mutate",
            json=review(pod),
            ssl=ssl.create_default_context(cadata=api.bundle().decode()),
            server_hostname=NAME,
        ) as response:
            assert patch_of(await response.json())
        admission = await line(started, "admission")
        assert (admission["pod"], admission["result"]) == ("shop/gateway-*", "injected")
        started.send_signal(signal.SIGTERM)
        assert await started.wait() == 0


async def test_the_golden_pods_over_tls(api: FakeApi) -> None:
    cases = [load(path) for path in GOLDEN]
    cases = [case for case in cases if case["given"]["kubernetes"] == "1.35" and "settings" not in case["given"]]
    assert len(cases) >= 15
    async with asyncio.timeout(60), process() as started, aiohttp.ClientSession() as session:
        ports = await line(started, "listening")
        await line(started, "serving a certificate")
        for case in cases:
            # It is stored under each key that a golden pod names.
            api.configs["shop"] = dict.fromkeys(("policy.yaml", "plan.yaml"), case["given"].get("policy", ""))
            async with session.post(
                f"https://127.0.0.1:{ports['admissions']}/mutate",
                json=review(case["given"]["pod"]),
                ssl=ssl.create_default_context(cadata=api.bundle().decode()),
                server_hostname=NAME,
            ) as response:
                answer = await response.json()
            assert answer["response"]["allowed"] is case["expect"]["allowed"], case["about"]
            patch = json.loads(json.dumps(patch_of(answer)).replace(__version__, "VERSION"))
            assert patch == case["expect"].get("patch", []), case["about"]
            assert answer["response"].get("status", {}).get("message") == case["expect"].get("message")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"SIDECAR_CACHE_TTL": "soon"}, "'soon' is not understood"),
        ({"TLS_MODE": "none"}, "'none' is not one of"),
        ({"TLS_SECRET": ""}, "TLS_SECRET: is empty"),
        ({"WEBHOOK_LISTEN_ADDR": "x"}, "'x' is not understood"),
    ],
)
async def test_a_flag_that_is_not_understood_ends_the_start(environment: dict[str, str], said: str) -> None:
    async with asyncio.timeout(30), process(**environment) as started:
        assert started.stderr
        text = (await started.stderr.read()).decode()
        assert await started.wait() == 2
    assert said in text
    assert "Traceback" not in text


async def test_no_api_server_to_ask_ends_the_start(tmp_path: Path) -> None:
    async with asyncio.timeout(30), process(KUBECONFIG=str(tmp_path / "none")) as started:
        assert started.stderr
        text = (await started.stderr.read()).decode()
        assert await started.wait() == 1
    assert "find the API server: " in text
    assert "Traceback" not in text
