"""h2load, a compiled load generator, which uses little CPU beside the server that it loads. One run is one `Sample`.

It opens one connection with `callers` concurrent streams, like a gateway's channel. It does not check gRPC's status,
which is in a trailer, so a run counts only if all calls were answered with HTTP 200 and exactly the expected number of
message bytes; `subjects.check` checks the answers themselves before.
"""

import asyncio
import re
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.accounting import Tree
from bench.messages import framed
from tests.support.servers.children import program

_SUCCEEDED = re.compile(r"requests: \d+ total, \d+ started, \d+ done, (\d+) succeeded")
_TRAFFIC = re.compile(r"traffic: .*?\((\d+)\) total, .*?\((\d+)\) headers .*?, .*?\((\d+)\) data")
_RATE = re.compile(r"finished in .*?, ([\d.]+) req/s")


@dataclass(frozen=True, slots=True)
class Asked:
    """One unary request, which is repeated, and the bytes of its answer's HTTP/2 body, including gRPC's framing."""

    path: str
    body: bytes
    answer_bytes: int
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One run."""

    cpu_us: float
    """User + system time of the measured process, per call."""
    rate: float
    """Calls per second."""
    p50_us: float
    p99_us: float


async def run(address: str, measured: Tree, asked: Asked, *, callers: int, calls: int) -> Sample:
    """Runs h2load; RuntimeError with its output if it did not end as expected."""
    with tempfile.TemporaryDirectory(prefix="bench-h2load-") as folder:
        log = Path(folder, "log")
        command = _command(Path(folder, "body"), log, asked, callers, calls)
        before = measured.cpu()
        process = await asyncio.create_subprocess_exec(
            *command, f"http://{address}{asked.path}", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        try:
            output = (await process.communicate())[0].decode()
        finally:
            if process.returncode is None:
                process.kill()
        return _sample(output, log, asked, calls, measured.cpu() - before)


def _command(body: Path, log: Path, asked: Asked, callers: int, calls: int) -> list[str]:
    body.write_bytes(framed(asked.body))
    command = [program("nghttp2-client", "h2load"), "-c1", f"-m{callers}", f"-n{calls}", f"-d{body}"]
    command += [f"--log-file={log}", "-Hte: trailers", "-Hcontent-type: application/grpc"]
    return command + [f"-H{name}: {value}" for name, value in asked.metadata]


def _sample(output: str, log: Path, asked: Asked, calls: int, spent: float) -> Sample:
    succeeded, traffic, rate = (pattern.search(output) for pattern in (_SUCCEEDED, _TRAFFIC, _RATE))
    if succeeded is None or traffic is None or rate is None:
        raise RuntimeError(f"h2load of {asked.path} said:\n{output}")
    received, expected = int(traffic[3]), calls * asked.answer_bytes
    if int(succeeded[1]) != calls or received != expected:
        raise RuntimeError(f"{asked.path}: {succeeded[1]} of {calls} calls answered, {received} bytes not {expected}")
    micros = [int(line.rsplit("\t", 1)[1]) for line in log.read_text().splitlines()]
    cuts = statistics.quantiles(micros, n=100)
    return Sample(spent / calls * 1e6, float(rate[1]), cuts[49], cuts[98])
