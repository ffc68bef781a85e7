"""`RedisServer`: a real redis-server (or valkey-server) of the tests."""

import asyncio
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.support.servers.certificates import Authority, Issued
from tests.support.servers.children import Child, free_port, program
from tests.support.servers.own_clock import own_clock_of, set_own_clock
from tests.support.servers.server import Server

# Replies to PING that mean "serving"; LOADING and a closed connection mean "not yet".
_SERVING = (b"+PONG", b"-NOAUTH")


def tls_config(port: int, authority: Authority, shown: Issued, *, clients: bool = False) -> list[str]:
    """Configuration of another port, for TLS; with `clients` it demands their certificates."""
    return [
        f"tls-port {port}",
        f"tls-cert-file {shown.cert}",
        f"tls-key-file {shown.key}",
        f"tls-ca-cert-file {authority.ca}",
        f"tls-auth-clients {'yes' if clients else 'no'}",
    ]


class RedisServer(Server):
    """One server on a free port. `addr` is known before `start()`: until then, and once killed, it refuses.

    `config` contains lines of redis.conf. Without `appendonly`, only SAVE stores data, in `dump.rdb`; stored data
    survives `restart()`, and `kill()` with `start()`: the port and the directory stay the same.
    """

    def __init__(
        self,
        *config: str,
        password: str | None = None,
        appendonly: bool = False,
        replica_of: "RedisServer | None" = None,
        sentinel: bool = False,
        own_clock: bool = False,
    ) -> None:
        """`own_clock`: its clock can be set, see `set_clock`."""
        self.port = free_port()
        self.password = password
        self.directory = Path(tempfile.mkdtemp(prefix="test-redis-"))
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.directory}", "daemonize no"]
        if not sentinel:
            lines += ['save ""', f"appendonly {'yes' if appendonly else 'no'}", "appendfsync always"]
            lines += ["repl-diskless-sync-delay 0"]
        if password is not None:
            lines.append(f"requirepass {password}")
        if replica_of is not None:
            lines.append(f"replicaof 127.0.0.1 {replica_of.port}")
            if replica_of.password is not None:
                lines.append(f"masterauth {replica_of.password}")
        self._write_config((*lines, *config))
        binary = program("redis-server", "redis-server", "valkey-server")
        command = [binary, str(self.directory / "redis.conf"), *(["--sentinel"] if sentinel else [])]
        env = own_clock_of(self.directory) if own_clock else None
        self.child = Child(f"redis-server on port {self.port}", command, self.directory, env)

    def _write_config(self, lines: Iterable[str]) -> None:
        (self.directory / "redis.conf").write_text("\n".join(lines) + "\n")

    def set_clock(self, seconds: float) -> None:
        """Sets its clock this far ahead of the machine's, or behind if negative."""
        set_own_clock(self.directory, seconds)

    @property
    def addr(self) -> str:
        """The value for REDIS_ADDR: `host:port`, or with a password the URL."""
        where = f"127.0.0.1:{self.port}"
        return where if self.password is None else f"redis://:{self.password}@{where}"

    async def serving(self) -> bool:
        """Whether it answers PING."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        try:
            writer.write(b"PING\r\n")
            return (await reader.readline()).startswith(_SERVING)
        except OSError:
            return False
        finally:
            writer.close()

    def client(self, **options: Any) -> Redis:
        """Returns a redis.asyncio client of this server that never retries; close it, best with `async with`."""
        given = {"host": "127.0.0.1", "port": self.port, "password": self.password, "retry": Retry(NoBackoff(), 0)}
        return Redis(**{**given, **options})

    async def cli(self, *args: str | bytes | float) -> Any:
        """Runs one command on a new connection; returns its reply, with text as bytes."""
        async with self.client() as client:
            return await client.execute_command(*args)  # type: ignore[no-untyped-call]

    async def info(self, section: str) -> dict[str, Any]:
        """Returns one section of INFO."""
        async with self.client() as client:
            return dict(await client.info(section))
