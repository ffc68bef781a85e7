"""The webhook as a process: started by its command, called over TLS, ended by SIGTERM."""

import asyncio
import json
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.injector.fake_api import FakeApi
from tests.injector.pods import GOLDEN, load
from tests.injector.reviews import patch_of, review

_COMMAND = (sys.executable, "-c", "from proxy.injector_cli import webhook; webhook()")
_FLAGS = {
    "WEBHOOK_LISTEN_ADDR": "127.0.0.1:0",
    "PROBE_ADDR": "127.0.0.1:0",
    "WEBHOOK_NAMESPACE": "system",
    "WEBHOOK_SERVICE": "injector",
    "WEBHOOK_CONFIGURATION": "injector",
    "TLS_SECRET": "tls",
    "DRAIN_TIME": "0",
}


@asynccontextmanager
async def process(**environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    env = {**os.environ, **_FLAGS, **environment}
    started = await asyncio.create_subprocess_exec(*_COMMAND, env=env, stderr=asyncio.subprocess.PIPE)
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def line(started: asyncio.subprocess.Process, message: str) -> dict[str, object]:
    """The first log line with a message; fails with what was said instead."""
    assert started.stderr
    seen = []
    async for text in started.stderr:
        seen.append(text.decode())
        entry: dict[str, object] = json.loads(text)
        if entry["msg"] == message:
            return entry
    raise AssertionError(f"no line {message!r} in {''.join(seen)}")


async def test_it_serves_admissions_until_sigterm(api: FakeApi) -> None:
    pod = load(GOLDEN[0])["given"]["pod"]
    async with asyncio.timeout(30), process() as started, aiohttp.ClientSession() as session:
        ports = await line(started, "listening")
        await line(started, "serving a certificate")
        async with session.post(
            f"https://127.0.0.1:{ports['admissions']}/mutate",
            json=review(pod),
            ssl=ssl.create_default_context(cadata=api.bundle().decode()),
            server_hostname="injector.system.svc",
        ) as response:
            assert patch_of(await response.json())
        admission = await line(started, "admission")
        assert (admission["pod"], admission["result"]) == ("shop/gateway-*", "injected")
        started.send_signal(signal.SIGTERM)
        assert await started.wait() == 0


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
