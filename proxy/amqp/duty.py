"""`Duty`: whether this process consumes events now. It does so only while it can apply them. Pure; time is passed in.

Rules:
    on -> off    for `patience` seconds, Redis cannot be used or an event in hand waits for Redis' confirmation
    off -> on    Redis can be used, and has confirmed the invalidations of all events that were in hand
    on -> part   for `patience` seconds, some masters of a Cluster cannot be used
    part -> off  so many events wait for these masters that there is no room for others
    part -> on   all masters can be used
Off duty, messages in hand are returned to RabbitMQ, and another proxy with a working Redis applies them. Their
invalidations are still held and retried here, because their confirmation shows that Redis accepts writes again. If no
proxy is on duty, events wait in the queue and are not passed back and forth.

With only a part of Redis, this process takes events that no fully connected proxy takes, applies those it can, and
returns the others after a while, since other proxies may reach the lost masters.
"""

from collections.abc import Callable
from dataclasses import dataclass

OFF_DUTY = "media events are left to other proxies until Redis confirms invalidations"
IN_PART = "a part of Redis cannot be used, so media events go first to proxies that can use all of it"
PATIENCE = 1.0
"""Seconds: longer than a slow answer or a busy machine takes; short enough to hand events back within 2 s of a loss."""


@dataclass(frozen=True, slots=True)
class Able:
    """Whether Redis accepts invalidations, as far as this process knows: `any` at all, the `whole`,
    those `of` a tag.
    """

    any: Callable[[], bool] = lambda: True
    whole: Callable[[], bool] = lambda: True
    of: Callable[[str], bool] = lambda tag: True


class Duty:
    """Whether one process is on duty. It starts on duty, and Redis has `patience` seconds to become usable."""

    def __init__(self, able: Able, patience: float = PATIENCE) -> None:
        self._able = able
        self._patience = patience
        self._unable_since: float | None = None
        self._part_since: float | None = None
        self._crowded = False
        self.on = True
        self.in_part = False
        """Whether it is on duty with only a part of Redis."""
        self.doubtful_since: float | None = None
        """Since when events may not have been applied; None while they are."""

    @property
    def trouble(self) -> str:
        """Why not all events are taken; empty if all are."""
        return OFF_DUTY if not self.on else IN_PART if self.in_part else ""

    def looked(self, now: float, oldest: float | None, *, crowded: bool = False) -> bool:
        """Updates the state, several times per `patience`; True if it has changed. `oldest`: when the oldest event in
        hand that could be applied was taken; None if there is none. `crowded`: there is no room for more events that
        cannot be applied.
        """
        whole = self._able.whole()
        self._crowded = not whole and (crowded or self._crowded)
        able = self._able.any() and not self._crowded
        self._unable_since = None if able else now if self._unable_since is None else self._unable_since
        self._part_since = None if whole else now if self._part_since is None else self._part_since
        self.doubtful_since = min((at for at in (self._unable_since, oldest) if at is not None), default=None)
        before = self.on, self.in_part
        if self.on:
            self.on = self.doubtful_since is None or now - self.doubtful_since < self._patience
        else:
            self.on = able and oldest is None
        self.in_part = self.on and self._part_since is not None and now - self._part_since >= self._patience
        return (self.on, self.in_part) != before
