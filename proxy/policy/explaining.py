"""`policy explain`: what a policy does with one call, without a proxy."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from grpc import StatusCode

from proxy.policy.cases import answer_verdict, longest_life
from proxy.policy.compiled import Policy, Read, Write
from proxy.policy.jsonish import BadMessage, message_of
from proxy.policy.mistakes import unknown
from proxy.settings.setting_types import Duration


def explained(
    policy: Policy, method: str, request: Any, response: Any, status: StatusCode | None = None
) -> list[tuple[str, str]]:
    """What the policy says about a request and its answer, as lines of a name and a text.

    `request` and `response` are in protobuf's JSON mapping; `status` is the answer instead of `response`. Raises
    BadMessage for a method or message that is not known, and ExpressionError.
    """
    found = _method(policy, method)
    if isinstance(found, Read):
        return list(_read(found, request, response, status))
    return list(_write(found, request))


def _read(read: Read, request: Any, response: Any, status: StatusCode | None) -> Iterator[tuple[str, str]]:
    message = message_of(request, read.requests.default())
    yield "method", f"{read.service}/{read.name}, a read"
    yield "tag", read.tag_of(message)
    yield "bypass", "yes: it is forwarded, uncached" if read.bypasses(message) else "no"
    yield "ttl", "CACHE_TTL" if read.limits.ttl is None else Duration().text(read.limits.ttl)
    yield "vary", "CACHE_VARY_METADATA" if read.limits.vary is None else ", ".join(read.limits.vary) or "nothing"
    yield "metadata", "keyed" if read.limits.keyed else "all"
    yield "digest", read.digest.hex()
    if status is None and response is None:
        return
    verdict = answer_verdict(read, message, response, status)
    if isinstance(verdict, str):
        yield "stored", f"no: {verdict}"
        return
    life = longest_life(read, verdict, datetime.now(UTC).timestamp())
    yield (
        "stored",
        f"yes, for {Duration().text(round(life, 3))} at most (with CACHE_TTL at 1h)"
        if life
        else "no: its presigned URLs have expired",
    )
    yield "further tags", ", ".join(verdict.further_tags) or "none"
    yield "aliases", ", ".join(verdict.aliases) or "none"


def _write(write: Write, request: Any) -> Iterator[tuple[str, str]]:
    message = message_of(request, write.requests.default())
    yield "method", f"{write.service}/{write.name}, a write"
    yield "invalidates", ", ".join(write.invalidates(message)) or "no tag that the request names"
    if alias := write.alias(message):
        yield "alias", alias
    if write.look_up is not None:
        yield "look_up", f"{write.look_up.path[1:]}, if no stored answer has contained the alias"


def _method(policy: Policy, name: str) -> Read | Write:
    methods: dict[str, Read | Write] = {}
    for service in policy.services.values():
        methods |= {path[1:]: read for path, read in service.reads.items()}
        methods |= {path[1:]: write for path, write in service.writes.items()}
    wanted = name.removeprefix("/")
    found = [path for path in methods if path == wanted or path.rpartition("/")[2] == wanted]
    if len(found) > 1:
        raise BadMessage(f"several services have {wanted!r}; accepted: {', '.join(found)}")
    if not found:
        raise BadMessage(unknown("method", wanted, methods))
    return methods[found[0]]
