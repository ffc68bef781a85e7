"""`Peers`: a client and a server with grpc-go, built here, and the proxies between them; without Go, with grpc-python.

Both are processes that exchange lines of JSON with the test, as defined in go/wire/wire.go.
"""

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tests.conftest import TRANSPORTS, _run
from tests.support.servers.process import ROOT, ProxyProcess

Json = dict[str, Any]
_GO = Path(__file__).with_name("go")
_WAIT = 60
MAX = 2**63 - 1
"""grpc-go's "no deadline", in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A process that answers in lines of JSON."""

    process: "subprocess.Popen[bytes]"

    def tell(self, value: Json) -> None:
        self._pipe(self.process.stdin).write(json.dumps(value).encode() + b"\n")
        self._pipe(self.process.stdin).flush()

    def told(self) -> Any:
        """The next line, decoded."""
        return json.loads(self._pipe(self.process.stdout).readline())

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe


@dataclass(slots=True)
class Peers:
    """The client and the server; `ports` by the way to it: `direct`, `grpcio`, `envoy`."""

    client: Peer
    server: Peer
    library: str
    ports: dict[str, int] = field(default_factory=dict)

    def call(
        self, way: str, method: str, *messages: bytes, answer: Json | None = None, **more: Any
    ) -> tuple[Json, Json]:
        """Makes a call; returns what the client saw of it, and what the server saw."""
        usual = {"metadata": [], "timeout": 0, "ping_pong": False, "header_first": False, "cancel_after": 0}
        asked = {**usual, **more, "method": method, "target": f"127.0.0.1:{self.ports[way]}"}
        asked["messages"] = [base64.b64encode(each).decode() for each in messages]
        if answer is not None:
            asked["metadata"] = [*asked["metadata"], ["answer", json.dumps(answer).encode().hex()]]
        self.client.tell(asked)
        seen = self.server.told()  # the server reports before it ends the call
        return self.client.told(), seen


def built(directory: Path) -> list[list[str]] | None:
    """The commands of client and server with grpc-go; None without Go, or if its modules cannot be downloaded."""
    go = shutil.which("go")
    if go is None or subprocess.run([go, "mod", "download"], cwd=_GO, capture_output=True, check=False).returncode:
        return None
    subprocess.run([go, "build", "-o", f"{directory}/", "./..."], cwd=_GO, check=True, capture_output=True)
    return [[str(directory / "client")], [str(directory / "server")]]


@contextmanager
def peers(directory: Path) -> Iterator[Peers]:
    """The running peers, with both proxies."""
    commands = built(directory)
    library = "grpc-python" if commands is None else "grpc-go"
    python = [sys.executable, "-m", "tests.as_direct.python_peer"]
    client, server = commands or [[*python, "client"], [*python, "server"]]
    with ExitStack() as stack:
        running = Peers(_started(stack, client), _started(stack, server), library)
        running.ports["direct"] = running.server.told()
        for transport in TRANSPORTS:
            proxy = ProxyProcess(TRANSPORT=transport, MEDIA_SERVICE_ADDR=f"localhost:{running.ports['direct']}")
            stack.callback(proxy.remove)
            _run(proxy.start())
            running.ports[transport] = proxy.listen_port
        yield running


def _started(stack: ExitStack, command: list[str]) -> Peer:
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    stack.enter_context(process)
    stack.callback(process.kill)
    return Peer(process)
