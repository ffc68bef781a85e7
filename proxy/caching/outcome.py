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
    if answer.age is not None:
        return answer.result
    good = answer.reply.ok and read.successful(call.body, answer.reply.body or b"")
    return answer.result if good else "failure"
