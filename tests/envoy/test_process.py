"""One Envoy process, its messages and its log; a shell stands in for Envoy if it need not serve."""

import asyncio
import logging
import sys
from pathlib import Path

import pytest

from proxy.envoy.bootstrap import Place
from proxy.envoy.control import Ended, Failed, Hello, Live
from proxy.envoy.process import EnvoyProcess
from proxy.settings.config import Settings
from tests.support.servers.waiting import until

HELLO = Hello(Settings(), {}, Place(Path("/"), "/pyvoy.so", "/roots.pem"), 0)

TALKS = """
from multiprocessing.connection import Connection
from proxy.envoy.control import SOCKET, Ended, Failed, Live

control = Connection(SOCKET)
hello = control.recv()
control.send(Live())
control.recv()
control.send(Failed(str(hello.restarts)))
control.recv()
control.send(Ended(7))
control.poll(None)
"""


async def shell(script: str) -> EnvoyProcess:
    process = EnvoyProcess()
    await process.start(["/bin/sh", "-c", script], HELLO)
    return process


async def test_both_sides_hear_each_other() -> None:
    process = EnvoyProcess()
    await process.start([sys.executable, "-c", TALKS], HELLO)
    await asyncio.wait_for(process.live.wait(), 30)
    process.ask_to_stop()
    await asyncio.wait_for(process.done.wait(), 30)
    assert process.failed == Failed("0")
    process.ask_to_stop()
    await until(lambda: process.ended is not None)
    assert process.ended == Ended(7)
    assert Live() == Live()
    assert await process.end() == -15


async def test_what_it_says_is_logged_at_its_level(caplog: pytest.LogCaptureFixture) -> None:
    said = r"info main starting\nwarning main careful\nerror config bad cluster\nTraceback\n"
    with caplog.at_level(logging.DEBUG):
        process = await shell(f"printf '{said}' >&2")
        await asyncio.wait_for(process.done.wait(), 30)
        assert await process.end() == 0
    lines = [(each.levelname, each.getMessage()) for each in caplog.records if each.name == "proxy.envoy.process"]
    assert lines == [
        ("INFO", "envoy: starting"),
        ("WARNING", "envoy: careful"),
        ("ERROR", "envoy: bad cluster"),
        ("WARNING", "envoy: Traceback"),
    ]
    assert list(process.last) == ["bad cluster", "Traceback"]


async def test_what_it_says_is_not_shown_where_what_runs_inside_says_why(caplog: pytest.LogCaptureFixture) -> None:
    talks = TALKS.partition("control.send(Live())")[0] + "control.send(Failed('why')); print('no app', file=sys.stderr)"
    with caplog.at_level(logging.DEBUG):
        process = EnvoyProcess()
        await process.start([sys.executable, "-c", f"import sys\n{talks}"], HELLO)
        await until(lambda: process.last)
        await process.end()
    assert process.failed == Failed("why")
    assert caplog.messages == []


async def test_a_line_without_end_does_not_stop_the_reading(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        process = await shell("head -c 300000 /dev/zero | tr '\\0' x >&2; echo >&2; echo after >&2")
        await asyncio.wait_for(process.done.wait(), 30)
        await process.end()
    assert "envoy: after" in caplog.messages


async def test_who_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("proxy.envoy.process._ENDS_WITHIN", 0.2)
    process = await shell("trap '' TERM; echo error main ready >&2; while :; do sleep 1; done")
    await until(lambda: process.last)
    assert await process.end() == -9
    assert "Envoy does not exit and is killed" in caplog.messages


async def test_to_stop_what_is_gone_is_no_error() -> None:
    process = await shell("exit 3")
    await asyncio.wait_for(process.done.wait(), 30)
    process.ask_to_stop()
    assert await process.end() == 3
