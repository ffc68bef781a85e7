"""What a proxy says of settings that were wrong; that it says so as a process is in test_tolerance.py."""

import asyncio
import logging

import pytest

from proxy.settings.tolerance import PolicyFault
from proxy.telemetry import settings_complaints
from proxy.telemetry.settings_complaints import SettingsComplaints
from tests.support.servers.waiting import until


def test_a_remark_and_a_count_of_what_is_wrong_still() -> None:
    counts: list[int] = []
    assert SettingsComplaints((), counts.append).remark == ""
    found = SettingsComplaints(("A: x", PolicyFault("p.yaml: y")), counts.append)
    assert found.remark == "nothing is cached: A: x; p.yaml: y"
    found.mended(PolicyFault)
    assert (found.remark, counts) == ("nothing is cached: A: x", [0, 2, 1])
    found.mended(str)
    assert (found.remark, counts) == ("", [0, 2, 1, 0])


async def test_again_and_again_until_nothing_is_wrong(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_complaints, "_EVERY", 0.0)
    found = SettingsComplaints((PolicyFault("p.yaml: y"),), lambda _: None)
    running = asyncio.create_task(found.run())
    await until(lambda: len(caplog.records) >= 2, "a second line")
    found.mended(PolicyFault)
    told = len(caplog.records)
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(caplog.records) == told
    assert not running.done()
    running.cancel()
    assert {record.levelno for record in caplog.records} == {logging.ERROR}
