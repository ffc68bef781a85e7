"""`Server`: what the tests' servers have in common; each is one process with its own directory."""

import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.servers.children import Child
from tests.support.servers.waiting import until


class Startable:
    """A context that starts a server on entering and leaves nothing behind, whether it could start or not."""

    async def start(self) -> Self:
        raise NotImplementedError

    def remove(self) -> None:
        """Ends all processes and removes all files; may be called again."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        try:
            return await self.start()
        except BaseException:
            self.remove()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


class Server(Startable):
    """One process. Once killed it may be started again: same ports, same directory."""

    child: Child
    directory: Path
    start_timeout = 30.0
    stop_timeout = 20.0

    async def serving(self) -> bool:
        """Whether it takes requests now."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        return self.child.pid

    async def start(self) -> Self:
        """Starts it and waits until it serves; RuntimeError with its last output if it ended instead."""
        self.child.spawn()
        await self.ready()
        return self

    async def ready(self) -> None:
        """Waits until it serves; RuntimeError with its last output if it ended instead."""

        async def serving() -> bool:
            self.child.require_running()
            return await self.serving()

        await until(serving, f"{self.child.name} to serve", self.start_timeout)

    async def stop(self) -> None:
        """Stops it gracefully."""
        if self.child.running:
            await self.child.stop(self.stop_timeout)

    async def restart(self) -> None:
        """Stops it gracefully and starts it again."""
        await self.stop()
        await self.start()

    def kill(self) -> None:
        """Sends SIGKILL: open connections are reset, new ones refused."""
        self.child.kill()

    def freeze(self) -> None:
        """Stops the process: connections stay open and are accepted, but nothing is answered."""
        self.child.freeze()

    def thaw(self) -> None:
        self.child.thaw()

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
