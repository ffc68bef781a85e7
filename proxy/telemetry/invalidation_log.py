"""`InvalidationLog`: the last invalidations that this process saw Redis confirm, for people who ask what happened."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from proxy.media.model import Model

MOST_REMEMBERED = 100
_LONGEST_TEXT = 200


@dataclass(frozen=True, slots=True)
class Invalidation:
    """One that Redis confirmed."""

    at: float
    """Seconds since 1970, by our clock."""
    model: Model | None
    """None: a flush, of every model."""
    source: str
    """event, write, admin; of a flush: `flush`."""
    detail: str
    """The collection that was named, of a flush the reason; cut where it is long."""

    @property
    def model_type(self) -> str | None:
        """For people; None for a flush."""
        return None if self.model is None else _shown(self.model.type)


class InvalidationLog:
    """Bounded: the oldest one goes."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._last: deque[Invalidation] = deque(maxlen=MOST_REMEMBERED)

    def __iter__(self) -> Iterator[Invalidation]:
        """The newest first."""
        return reversed(self._last)

    def invalidated(self, model: Model, source: str, collection: str) -> None:
        """A model's entries are gone."""
        kept = Model(model.type[:_LONGEST_TEXT], model.id)
        self._last.append(Invalidation(self._clock(), kept, source, _shown(collection[:_LONGEST_TEXT])))

    def flushed(self, reason: str, models: int) -> None:
        """All entries are gone, of that many models."""
        detail = f"{reason}; {models} model{'' if models == 1 else 's'}"
        self._last.append(Invalidation(self._clock(), None, "flush", detail[:_LONGEST_TEXT]))

    def last_of(self, model: Model) -> Invalidation | None:
        """The last one that this model's entries went with."""
        return next((each for each in self if each.model is None or each.model == model), None)


def _shown(text: str) -> str:
    """Text that can be written: what comes out of an event's JSON may hold half a character."""
    return text.encode(errors="backslashreplace").decode()
