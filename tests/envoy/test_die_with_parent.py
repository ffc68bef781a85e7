"""A program that `tied` starts ends with its parent, whether the parent is killed or not."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from proxy.envoy import die_with_parent
from tests.support.servers.waiting import until

STARTS = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, sys.argv[1], str(os.getpid()), "GIVEN=1", "--", "/bin/sh", "-c", sys.argv[2]])
child.wait()
"""


def running(pid: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        return False


async def test_it_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    said = tmp_path / "pid"
    script = f"echo $$ > {said}; exec sleep 100"
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", STARTS, die_with_parent.__file__, script)
    await until(lambda: said.exists() and said.read_text().strip(), "the child's pid")
    child = int(said.read_text())
    assert running(child)
    parent.kill()
    await parent.wait()
    await until(lambda: not running(child), "the end of the child")


def test_it_is_what_it_was_told_to_be_with_its_environment(tmp_path: Path) -> None:
    said = tmp_path / "said"
    command = [sys.executable, "-c", STARTS, die_with_parent.__file__, f"echo $GIVEN $KEPT > {said}"]
    subprocess.run(command, env={**os.environ, "KEPT": "2"}, check=True)
    assert said.read_text() == "1 2\n"


def test_it_does_not_begin_when_its_parent_is_gone_already() -> None:
    command = [sys.executable, die_with_parent.__file__, "1", "--", "/bin/sh", "-c", "exit 7"]
    assert subprocess.run(command, check=False).returncode == 1
