"""`Flushes`: the flush that is owed after events may have been missed, retried until it is done."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from proxy.retry import Pauses, jittered, until_done

_logger = logging.getLogger(__name__)


class Flushes:
    """Runs one flush at a time. A reason that arises while one runs leads to another, since the first may have begun
    too early. The callback `settled` is called each time when no flush is owed any more.
    """

    def __init__(
        self,
        flush: Callable[[str], Awaitable[None]],
        *,
        settled: Callable[[], None],
        pauses: Pauses = jittered,
    ) -> None:
        self._flush = flush
        self._tell_settled = settled
        self._pauses = pauses
        self._owed = asyncio.Event()
        self._reason = ""
        self.settled = True
        """Whether no flush is owed or running."""

    def owe(self, reason: str) -> None:
        """Requests that everything stored so far is flushed."""
        _logger.info("events may have been missed, so the cache is flushed: %s", reason)
        self._reason = reason
        self.settled = False
        self._owed.set()

    async def run(self) -> None:
        """Runs owed flushes until cancelled."""
        while True:
            await self._owed.wait()
            self._owed.clear()  # before the flush begins
            await until_done(self._pay, self._failed, self._pauses)
            if not self._owed.is_set():
                self.settled = True
                self._tell_settled()

    async def _pay(self) -> None:
        await self._flush(self._reason)

    @staticmethod
    def _failed(times: int, error: Exception) -> None:
        if times == 1:
            _logger.error("the flush failed; it is retried until it succeeds", exc_info=error)
