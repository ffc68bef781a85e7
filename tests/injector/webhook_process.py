"""`media-cache-proxy webhook` in a process of its own, and the lines that it logs."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
_COMMAND = (sys.executable, "-c", "from proxy.injector_cli import webhook; webhook()")
_FLAGS = {
    "PYTHONPATH": str(ROOT),
    "WEBHOOK_LISTEN_ADDR": "127.0.0.1:0",
    "PROBE_ADDR": "127.0.0.1:0",
    "WEBHOOK_NAMESPACE": "system",
    "WEBHOOK_SERVICE": "injector",
    "WEBHOOK_CONFIGURATION": "injector",
    "TLS_SECRET": "tls",
    "DRAIN_TIME": "0",
}
NAME = "injector.system.svc"
"""The name by which the API server calls it."""


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
    """The first log line with this message; fails with the lines that were logged instead."""
    assert started.stderr
    seen = []
    async for text in started.stderr:
        seen.append(text.decode())
        entry: dict[str, object] = json.loads(text)
        if entry["msg"] == message:
            return entry
    raise AssertionError(f"no line {message!r} in {''.join(seen)}")
