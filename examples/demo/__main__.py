"""`python -m examples.demo`: starts the stack, shows the tour, then runs until Ctrl-C; with ONCE=1 it ends.

TRANSPORT=envoy is passed on to the proxy.
"""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from examples.demo.process import FailedError
from examples.demo.programs import MissingError, Programs
from examples.demo.report import Report
from examples.demo.stack import Stack, running
from examples.demo.tour import AVATAR, Tour


async def run(
    programs: Programs, report: Report, *, once: bool, proxy_settings: Mapping[str, str] | None = None
) -> int:
    """Returns the exit status: 0 if every step did what it says, otherwise 1; the logs are then kept."""
    directory = Path(tempfile.mkdtemp(prefix="media-demo-"))
    passed = False
    try:
        report.say("Starting the stack", "bold")
        async with running(programs, directory, report, proxy_settings) as stack:
            report.say("\nThe tour", "bold")
            passed = await Tour(stack, report).passed()
            if passed and not once:
                _invite(stack, directory, report)
                passed = await _until_told(stack, report)
    except FailedError as error:
        report.say(f"\n{error}", "red")
    finally:
        if passed or _this_task().cancelling():
            shutil.rmtree(directory, ignore_errors=True)
        else:
            report.say(f"\nNot everything did what it says; the logs are in {directory}", "red")
    return 0 if passed else 1


def _invite(stack: Stack, directory: Path, report: Report) -> None:
    """Prints what to try."""
    avatar = directory / "avatar.jpg"
    avatar.write_bytes(b"\xff\xd8 yet another picture \xff\xd9")
    query = AVATAR.replace('"', '\\"')
    report.say(
        f"""
Everything stays up until Ctrl-C. To try:

  # through the proxy; the same at {stack.straight.where} without it
  curl -X POST {stack.gateway.where} -H "Content-Type: application/json" \\
    -d '{{"query":"{query}"}}'

  # a new avatar
  curl -X POST {stack.gateway.where} -H "Content-Type: application/json" \\
    -F 'operations={{"query":"mutation($file: Upload!) {{ uploadFile(input: {{file: $file, modelType: \\"User\\", \
modelId: \\"1\\", collectionName: \\"avatars\\"}}) {{ success }} }}", "variables": {{"file": null}}}}' \\
    -F 'map={{"0": ["variables.file"]}}' -F '0=@{avatar}'

  # the proxy's page: {stack.admin}/ ; and its commands, such as
  ADMIN_ADDR={stack.admin.removeprefix("http://")} {sys.executable} -m proxy stats

  # whole traces, gateway to media service: OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317 make demo

  # what the proxy did; its metrics; the calls that reached the media service
  tail -f {stack.proxy.log}
  curl {stack.probe}/metrics
  tail -f {stack.media.log}
"""
    )


async def _until_told(stack: Stack, report: Report) -> bool:
    """Waits for Ctrl-C or SIGTERM; returns False if a server ended by itself before."""
    try:
        while True:
            await asyncio.sleep(0.5)
            ended = [process for process in stack if not process.running]
            if ended:
                report.say(f"{ended[0].name} ended; see {ended[0].log}", "red")
                return False
    except asyncio.CancelledError:
        # A demo that runs until Ctrl-C has succeeded then, and needs time to clean up.
        _this_task().uncancel()
        report.say("\nending")
        return True


def _this_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("not in a task")
    return task


async def _main(report: Report, ended_by: list[int]) -> int:
    def end(number: signal.Signals) -> None:
        ended_by.append(number)
        task.cancel()

    task = _this_task()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    transport = os.environ.get("TRANSPORT", "")
    settings = {"TRANSPORT": transport} if transport else {}
    once = os.environ.get("ONCE", "") not in {"", "0"}
    return await run(Programs.found(), report, once=once, proxy_settings=settings)


def main() -> int:
    """Returns the exit status: that of the tour, 130 if Ctrl-C interrupted it, or 143 if SIGTERM did."""
    report, ended_by = Report(), list[int]()
    try:
        return asyncio.run(_main(report, ended_by))
    except MissingError as error:
        report.say(str(error), "red")
        return 1
    except asyncio.CancelledError:
        report.say("\nended")
        return 128 + ended_by[0]


if __name__ == "__main__":
    sys.exit(main())
