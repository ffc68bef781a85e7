"""`InvalidationLog`: the last invalidations that this process saw Redis confirm, for operators."""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from proxy.calls.tags import Description, kind_of

MOST_REMEMBERED = 100
_LONGEST_TEXT = 200
_LONGEST_TAG = 512


@dataclass(frozen=True, slots=True)
class Invalidation:
    """One that Redis confirmed."""

    at: float
    """Seconds since 1970, by our clock."""
    tag: str | None
    """None: a flush, of every tag; cut where it is long."""
    source: str
    """event, write, admin; of a flush: `flush`."""
    detail: str
    """The collection that was named, of a flush the reason; cut where it is long."""
    subject: str = ""
    """What the policy calls what is invalidated; empty: it says nothing of it. Of a flush the services; empty: all."""

    @property
    def kind(self) -> str | None:
        """What the tag is of, for people; None for a flush."""
        return None if self.tag is None else _shown(kind_of(self.tag))

    @property
    def name(self) -> str | None:
        """Which one of its kind it is, for people; None for a flush."""
        return None if self.tag is None else _shown(self.tag.rpartition("/")[2])

    @property
    def shown(self) -> str:
        """In one line: of what the policy describes the kind and the name, `user 123`, else the tag."""
        if self.tag is None:
            return f"everything of {self.subject}" if self.subject else "everything"
        return f"{self.kind} {self.name}" if self.subject else _shown(self.tag)


class InvalidationLog:
    """Bounded: the oldest one goes."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._last: deque[Invalidation] = deque(maxlen=MOST_REMEMBERED)

    def __iter__(self) -> Iterator[Invalidation]:
        """The newest first."""
        return reversed(self._last)

    def invalidated(self, tag: str, source: str, about: Description) -> None:
        """A tag's entries are gone."""
        collection = str(about.fields.get("collection", ""))
        detail = _shown(collection[:_LONGEST_TEXT])
        self._last.append(Invalidation(self._clock(), tag[:_LONGEST_TAG], source, detail, about.subject))

    def flushed(self, reason: str, models: int, services: Collection[str] = ()) -> None:
        """All entries are gone, or all of these services, of that many tags."""
        detail = f"{reason}; {models} {'tag' if services else 'model'}{'' if models == 1 else 's'}"
        of = ", ".join(sorted(services))
        self._last.append(Invalidation(self._clock(), None, "flush", detail[:_LONGEST_TEXT], of))

    def last_of(self, tag: str) -> Invalidation | None:
        """The last one that this tag's entries went with."""
        return next((each for each in self if each.tag is None or each.tag == tag[:_LONGEST_TAG]), None)


def _shown(text: str) -> str:
    """Text that can be written: what comes out of an event's JSON may hold half a character."""
    return text.encode(errors="backslashreplace").decode()
