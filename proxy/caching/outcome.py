"""What a cacheable call counts as: the way it was answered, or a failure."""

from typing import Literal

from proxy.caching.fetches import Answer, Result
from proxy.calls.call import Call
from proxy.calls.reads import Read

Outcome = Result | Literal["failure"]


def outcome(answer: Answer, read: Read, call: Call) -> Outcome:
    """`x-cache` names the way in any case; a status other than OK, and what the policy takes for no success, count as
    failures.
    """
    if not answer.reply.ok:
        return "failure"
    from_cache = answer.age is not None
    return answer.result if from_cache or read.successful(call.body, answer.reply.body or b"") else "failure"
