"""`Policy`: what the settings let be stored and served, and what a caller asks for. Pure: times are passed in.

What the policy file says for a read (`Limits`) overrides the settings.
"""

from dataclasses import dataclass

from proxy.calls.call import Call
from proxy.calls.entry import Entry
from proxy.calls.lifetime import TEMPORARY
from proxy.calls.reads import Limits

_NO_DIRECTIVES: frozenset[str] = frozenset()


@dataclass(slots=True)
class Policy:
    """The settings of the cache. `mode` may change while the proxy runs. Durations are in seconds."""

    mode: str
    ttl: float
    stale_if_error: float
    stale_while_revalidate: float
    max_entry_bytes: int
    ttl_temporary_credentials: float = TEMPORARY

    @property
    def forwards_all(self) -> bool:
        """Whether caching is off, so that every call is forwarded."""
        return self.mode == "off" or self.ttl <= 0

    def largest(self, limits: Limits) -> int:
        """The size in bytes of the largest answer that is stored."""
        return self.max_entry_bytes if limits.max_entry_bytes is None else limits.max_entry_bytes

    def stands_in(self, limits: Limits, entry: Entry, now_ms: float) -> bool:
        """Whether an entry may be served while upstream is unavailable; `stale_until` bounds it by its URLs' life."""
        if entry.negative is not None:
            return False  # what was not found may exist by now
        allowance = self.stale_if_error if limits.stale_if_error is None else limits.stale_if_error
        return now_ms < min(entry.stale_until_ms, entry.fresh_until_ms + allowance * 1000)

    def revalidates(self, limits: Limits, entry: Entry, now_ms: float) -> bool:
        """Whether an entry may be served while a fresh answer is fetched in the background."""
        if entry.negative is not None:
            return False
        given = limits.stale_while_revalidate
        allowance = self.stale_while_revalidate if given is None else given
        return now_ms < min(entry.stale_until_ms, entry.fresh_until_ms + allowance * 1000)


def cache_control(call: Call) -> frozenset[str]:
    """The directives of the request's `cache-control` metadata, in lower case."""
    for name, _ in call.metadata:
        if name == "cache-control":
            break
    else:  # nearly every hit
        return _NO_DIRECTIVES
    given = [value for name, value in call.metadata if name == "cache-control"]
    texts = (value for value in given if isinstance(value, str))
    return frozenset(directive.strip().lower() for text in texts for directive in text.split(","))
