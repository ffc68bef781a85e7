"""proxy.telemetry.stderr_records: with LOG_FORMAT=json every line is JSON, whoever wrote it."""

import asyncio
import json
import subprocess
import sys

import pytest

from proxy.telemetry.stderr_records import records
from tests.as_direct.caller import call, request
from tests.support.servers.process import ROOT, ProxyProcess

_PROGRAM = """
import asyncio, atexit, logging, os, sys, threading, traceback
from proxy.telemetry import log, stderr_records

capture = stderr_records.captured("json")
log.setup("info", "json", fd=capture.__enter__())
stderr_records.hook()
atexit.register(capture.__exit__, None, None, None)

def fail():
    raise ValueError("of a thread")

thread = threading.Thread(target=fail, name="worker")
thread.start()
thread.join()

class Dies:
    def __del__(self):
        raise ValueError("of nobody")

del (lambda: Dies())().__dict__
os.write(2, b"E1130 14:48:56.465204   18481 hpack_parser.cc:1048] Error parsing 'te' metadata\\n")
print("50 % of \\xff a line", file=sys.stderr)
try:
    fail()
except ValueError:
    traceback.print_exc()

async def main():
    async def lost():
        raise ValueError("of a task")
    asyncio.create_task(lost())
    await asyncio.sleep(0)

asyncio.run(main())
raise ValueError("of the program")
"""


def test_every_line_is_one_record() -> None:
    ran = subprocess.run([sys.executable, "-c", _PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    told = {(line["logger"], line["msg"]) for line in lines}
    assert {
        ("proxy.telemetry.stderr_records", "thread worker failed"),
        ("proxy.telemetry.stderr_records", "an exception was ignored in Dies.__del__"),
        ("grpc.core", "hpack_parser.cc:1048 Error parsing 'te' metadata"),
        ("stderr", "50 % of ÿ a line"),
        ("stderr", "ValueError: of a thread"),
        ("proxy.telemetry.stderr_records", "unexpected failure"),
    } <= told
    assert {line["logger"] for line in lines} == {"proxy.telemetry.stderr_records", "grpc.core", "stderr", "asyncio"}
    [of_task] = [line for line in lines if line["logger"] == "asyncio"]
    assert of_task["exception"].endswith("ValueError: of a task")
    assert [line["level"] for line in lines if line["logger"] == "grpc.core"] == ["error"]
    assert ran.returncode == 1


def test_a_traceback_is_one_record() -> None:
    lines = ["one", "Traceback (most recent call last):", "  File x", "", "  ^", "ValueError: a", "", "two"]
    assert [*records(f"{line}\n" for line in lines)] == [["one"], lines[1:6], ["two"]]
    assert [*records(lines[1:3])] == [lines[1:3]]


@pytest.mark.usefixtures("each_transport")
async def test_a_credential_that_is_no_utf_8_is_not_shown() -> None:
    async with ProxyProcess(LOG_LEVEL="debug", GRPC_VERBOSITY="debug") as proxy:
        secret = b"c4n4ryZq7"
        for method in ("/media.MediaService/GetFilesByModel", "/media.MediaService/GetFileURL", "/any.Service/A"):
            for fields in (
                [(b"authorization", b"Bearer \xff" + secret), (b"x", b"'" + secret + b"\xfe'\"")],
                [(b"k-bin", secret + b"!!!"), (b"grpc-timeout", secret)],
                [(b"te", secret)],
            ):
                await asyncio.gather(*(call(proxy.listen_port, request(method, fields)) for _ in range(2)))
        proxy.terminate()
        await proxy.exited()
        for line in proxy.stderr.splitlines():
            assert not json.loads(line)["msg"].startswith("{")
        assert secret.decode() not in proxy.stderr
