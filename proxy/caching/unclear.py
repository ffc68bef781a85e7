"""`Unclear`: messages that the policy cannot interpret. They are counted, and logged once a minute for each method."""

import logging
from typing import Protocol

from proxy.telemetry.log import RateLimit

log = logging.getLogger(__name__)


class Observer(Protocol):
    """Who counts."""

    def unclear(self, path: str) -> None:
        """An expression of the policy failed on a message of this method."""


class Unclear:
    """Remembers when it said what."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._said = RateLimit()

    def met(self, path: str, problem: str, what: str) -> None:
        """One more; `what` is the line, without what the message holds."""
        self._observer.unclear(path)
        kept_back = self._said.admit(path)
        if kept_back is not None:
            log.warning("%s", what, extra={"method": path[1:], "problem": problem, "suppressed": kept_back})
