"""What a cacheable call counts as: the way it was answered, or a failure."""

from typing import Literal

from proxy.caching.fetches import Answer, Result
from proxy.media import wire

Outcome = Result | Literal["failure"]


def outcome(answer: Answer) -> Outcome:
    """`x-cache` names the way in any case; a status other than OK and `success = false` count as failures."""
    if not answer.reply.ok:
        return "failure"
    from_cache = answer.age is not None
    return answer.result if from_cache or successful(answer.reply.body or b"") else "failure"


def successful(body: bytes) -> bool:
    """What a response of the media service says in its field 1; one that cannot be read counts as a success."""
    try:
        return wire.fields(body, numbers={1}).number(1) != 0
    except ValueError:
        return True
