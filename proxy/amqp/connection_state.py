"""`ConnectionState`: whether RabbitMQ is connected and since when, with a log line at each change."""

import logging
import time
from collections.abc import Iterable
from typing import Protocol

from proxy.telemetry.dependency import State

_logger = logging.getLogger(__name__)
_FIELDS = {"dependency": "rabbitmq"}


class Observer(Protocol):
    """Counts changes."""

    def dependency(self, name: str, *, up: bool) -> None:
        """A system that the proxy depends on was lost or is back."""


class ConnectionState:
    """The state of the connection to RabbitMQ, unknown until the first attempt to connect has ended."""

    def __init__(self, observer: Observer, queues: Iterable[str]) -> None:
        self._observer = observer
        self._queues = list(queues)
        self._lost_at: float | None = None
        self._back_at: float | None = None
        self._why = ""

    @property
    def known(self) -> bool:
        """Whether the first attempt to connect has ended."""
        return self._lost_at is not None or self._back_at is not None

    @property
    def up(self) -> bool:
        return self._lost_at is None and self._back_at is not None

    def state(self, trouble: str) -> State:
        """The state for operators; `trouble` says what is wrong although RabbitMQ is connected."""
        since = self._lost_at if self._lost_at is not None else self._back_at
        return State(self.up, None if since is None else time.monotonic() - since, self._why or trouble)

    def lost(self, why: str) -> None:
        """The connection was lost, or an attempt to connect failed. Only the first of these is logged."""
        self._why = why
        if self._lost_at is None:
            self._lost_at = time.monotonic()
            self._observer.dependency("rabbitmq", up=False)
            _logger.warning("RabbitMQ lost: %s", why, extra=_FIELDS)

    def back(self) -> None:
        """The connection is up, with all queues and bindings that events need."""
        now = self._back_at = time.monotonic()
        self._observer.dependency("rabbitmq", up=True)
        if self._lost_at is None:
            _logger.info("consuming media events", extra=_FIELDS | {"queues": self._queues})
        else:
            away = now - self._lost_at
            _logger.info("RabbitMQ is back after %.1f s", away, extra=_FIELDS | {"seconds": round(away, 3)})
        self._lost_at, self._why = None, ""
