"""`Policy`: what may be cached and served, by settings and by what the caller asks for. Pure: times are passed in."""

from dataclasses import dataclass

from proxy.media.calls import Call
from proxy.media.entry import Entry
from proxy.media.keys import RequestKey
from proxy.media.lifetime import TEMPORARY

_NO_DIRECTIVES: frozenset[str] = frozenset()
_DEFAULT_PER_PAGE = 20
"""What the media service takes a `per_page` of 0 for."""


@dataclass(slots=True)
class Policy:
    """`mode` may change while the proxy runs. Durations in seconds."""

    mode: str
    ttl: float
    stale_if_error: float
    stale_while_revalidate: float
    bypass_per_page: int
    max_entry_bytes: int
    ttl_temporary_credentials: float = TEMPORARY

    @property
    def forwards_all(self) -> bool:
        return self.mode == "off" or self.ttl <= 0

    def caches(self, key: RequestKey) -> bool:
        """A caller that reads so large a page may delete what it finds, so it must see the truth."""
        return not self.bypass_per_page or (key.per_page or _DEFAULT_PER_PAGE) < self.bypass_per_page

    def stands_in(self, entry: Entry, now_ms: float) -> bool:
        """Whether an entry may be served while upstream is away; `stale_until` bounds it by its URLs' life."""
        return now_ms < min(entry.stale_until_ms, entry.fresh_until_ms + self.stale_if_error * 1000)

    def revalidates(self, entry: Entry, now_ms: float) -> bool:
        """Whether an entry may be served while a fresh answer is fetched behind it."""
        return now_ms < min(entry.stale_until_ms, entry.fresh_until_ms + self.stale_while_revalidate * 1000)


def cache_control(call: Call) -> frozenset[str]:
    """The directives of the request's `cache-control` metadata, lower case."""
    for name, _ in call.metadata:
        if name == "cache-control":
            break
    else:  # nearly always, at every hit
        return _NO_DIRECTIVES
    given = [value for name, value in call.metadata if name == "cache-control"]
    texts = (value for value in given if isinstance(value, str))
    return frozenset(directive.strip().lower() for text in texts for directive in text.split(","))
