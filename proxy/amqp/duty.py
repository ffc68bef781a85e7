"""`Duty`: whether this process takes events now, which it does only while it can apply them. Pure; time is passed in.

Rules:
    on -> off   Redis cannot be used, or an event in hand has waited for Redis' confirmation, for `patience` seconds
    off -> on   Redis can be used, and has confirmed what every event that was in hand asked for
Off duty, what is in hand goes back to RabbitMQ: another proxy, whose Redis is well, applies it. What we asked of Redis
for these events is held and tried again all the same, so that its confirmation shows that Redis takes writes again.
When no proxy is on duty the events wait in the queue; nobody takes them, so that none goes to and fro.
"""

from collections.abc import Callable

OFF_DUTY = "media events are left to other proxies until Redis confirms invalidations"
PATIENCE = 1.0
"""Seconds: longer than a slow answer or a busy machine takes, short enough to hand back within two of a loss."""


class Duty:
    """On at first: at a start Redis has `patience` to be there."""

    def __init__(self, able: Callable[[], bool], patience: float = PATIENCE) -> None:
        """`able`: whether Redis takes invalidations, as far as this process knows."""
        self._able = able
        self._patience = patience
        self._unable_since: float | None = None
        self.on = True
        self.doubtful_since: float | None = None
        """Since when events have not been applied; None while they are."""

    def looked(self, now: float, oldest: float | None) -> bool:
        """To be called several times in `patience`; True when duty has begun or ended. `oldest`: when the event that
        has been in hand for the longest time was taken; None: none is.
        """
        able = self._able()
        if able:
            self._unable_since = None
        elif self._unable_since is None:
            self._unable_since = now
        self.doubtful_since = min((at for at in (self._unable_since, oldest) if at is not None), default=None)
        before = self.on
        if self.on:
            self.on = self.doubtful_since is None or now - self.doubtful_since < self._patience
        else:
            self.on = able and oldest is None
        return self.on is not before
