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
    """One invalidation that Redis confirmed. Long tags and details are truncated."""

    at: float
    """Seconds since 1970, by this machine's clock."""
    tag: str | None
    """None for a flush, which concerns every tag."""
    source: str
    """`event`, `write`, `admin` or `flush`."""
    detail: str
    """The collection that was named; for a flush the reason and the number of tags."""
    subject: str = ""
    """What the policy calls the thing that the tag stands for; "" if it does not describe it. For a flush the
    services, separated by commas; "" for all of them."""

    @property
    def kind(self) -> str | None:
        """The kind of thing that the tag stands for (`user` for `user/123`), as text to show; None for a flush."""
        return None if self.tag is None else _shown(kind_of(self.tag))

    @property
    def name(self) -> str | None:
        """Which one of its kind it is (`123` for `user/123`), as text to show; None for a flush."""
        return None if self.tag is None else _shown(self.tag.rpartition("/")[2])

    @property
    def shown(self) -> str:
        """One line: `user 123` if the policy describes the tag, else the tag; `everything` for a flush."""
        if self.tag is None:
            return f"everything of {self.subject}" if self.subject else "everything"
        return f"{self.kind} {self.name}" if self.subject else _shown(self.tag)


class InvalidationLog:
    """Holds the last `MOST_REMEMBERED` invalidations; `clock` returns seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._last: deque[Invalidation] = deque(maxlen=MOST_REMEMBERED)

    def __iter__(self) -> Iterator[Invalidation]:
        """The invalidations, the newest first."""
        return reversed(self._last)

    def invalidated(self, tag: str, source: str, about: Description) -> None:
        """Records that the entries of a tag were invalidated."""
        collection = str(about.fields.get("collection", ""))
        detail = _shown(collection[:_LONGEST_TEXT])
        self._last.append(Invalidation(self._clock(), tag[:_LONGEST_TAG], source, detail, about.subject))

    def flushed(self, reason: str, models: int, services: Collection[str] = ()) -> None:
        """Records a flush of `models` tags, of `services` or, without any, of the whole namespace."""
        detail = f"{reason}; {models} {'tag' if services else 'model'}{'' if models == 1 else 's'}"
        of = ", ".join(sorted(services))
        self._last.append(Invalidation(self._clock(), None, "flush", detail[:_LONGEST_TEXT], of))

    def last_of(self, tag: str) -> Invalidation | None:
        """The last invalidation that concerned this tag, a flush included; None if none is remembered."""
        return next((each for each in self if each.tag is None or each.tag == tag[:_LONGEST_TAG]), None)


def _shown(text: str) -> str:
    """Text that can be encoded: JSON in an event may contain half of a surrogate pair."""
    return text.encode(errors="backslashreplace").decode()
