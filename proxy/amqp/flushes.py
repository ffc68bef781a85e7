"""`Flushes`: the flush that is owed where events may have been missed, tried until it is done."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from proxy.retry import Pauses, jittered, until_done

_logger = logging.getLogger(__name__)


class Flushes:
    """One flush at a time. A reason that comes while one runs asks for one more: that one may have begun too early."""

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
        """No flush is owed or under way."""

    def owe(self, reason: str) -> None:
        """Everything that is stored by now must go."""
        _logger.info("events may have been missed, so the cache is flushed: %s", reason)
        self._reason = reason
        self.settled = False
        self._owed.set()

    async def run(self) -> None:
        """Pays what is owed, for ever; calls `settled` each time nothing more is."""
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
