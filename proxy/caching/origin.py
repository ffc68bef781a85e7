"""The origin's `cache-control` in its response metadata. Pure.

`no-store`, `private` and `no-cache` forbid storing; `max-age=N` and `s-maxage=N` can shorten the TTL, but not lengthen
it. The key may be in initial or trailing metadata, as in gRPC's own interop tests.
"""

import re

from proxy.calls.call import Reply

_FORBIDDING = frozenset({"no-store", "private", "no-cache"})
_AGE = re.compile(r"(s-maxage|max-age)\s*=\s*\"?([0-9]{1,10})\"?")


def longest_ttl(reply: Reply) -> float | None:
    """How long the origin lets its answer be kept, in seconds; 0 forbids storing, None sets no bound."""
    directives = _directives(reply)
    if not directives:
        return None
    if any(directive.partition("=")[0].strip() in _FORBIDDING for directive in directives):
        return 0.0
    ages = {match[1]: float(match[2]) for each in directives if (match := _AGE.fullmatch(each))}
    # In a shared cache, s-maxage overrides max-age (RFC 9111, 5.2.2.10).
    return ages.get("s-maxage", ages.get("max-age"))


def _directives(reply: Reply) -> list[str]:
    pairs = (*reply.initial_metadata, *reply.trailing_metadata)
    values = [value for name, value in pairs if name == "cache-control" and isinstance(value, str)]
    return [directive.strip().lower() for value in values for directive in value.split(",")]
