"""What a proxy says of settings that were wrong; that it says so as a process is in test_tolerance.py."""

import asyncio
import logging

import pytest

from proxy.telemetry import complaints
from tests.support.servers.waiting import until


def test_a_remark() -> None:
    assert complaints.remark(()) == ""
    assert complaints.remark(("A: x", "B: y")) == "nothing is cached: A: x; B: y"


async def test_again_and_again(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(complaints, "_EVERY", 0.0)
    running = asyncio.create_task(complaints.run(("A: x",)))
    await until(lambda: len(caplog.records) >= 2, "a second line")
    running.cancel()
    assert {record.levelno for record in caplog.records} == {logging.ERROR}
