"""`PolicyProblems`: reports messages that the policy cannot interpret. All are counted; one a minute is logged."""

import logging
from typing import Protocol

from proxy.telemetry.log import RateLimit

log = logging.getLogger(__name__)


class Observer(Protocol):
    """What counts such messages."""

    def policy_problem(self, path: str) -> None:
        """An expression of the policy failed on a message of this method."""


class PolicyProblems:
    """Remembers which lines it has logged when."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._said = RateLimit()

    def met(self, path: str, problem: str, what: str) -> None:
        """Reports a message of the method `path`; `what` is the line to log, without values of the message."""
        self._observer.policy_problem(path)
        kept_back = self._said.admit(path)
        if kept_back is not None:
            log.warning("%s", what, extra={"method": path[1:], "problem": problem, "suppressed": kept_back})
