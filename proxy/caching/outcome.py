"""`Outcome`: what a cacheable call counts as, which is how it was answered, or a failure."""

from typing import Literal

from proxy.caching.fetches import Answer, Result
from proxy.calls.call import Call
from proxy.calls.reads import Read

Outcome = Result | Literal["failure"]


def outcome(answer: Answer, read: Read, call: Call) -> Outcome:
    """What a call counts as. A fetched answer with a status other than OK, or one that is no success by the policy,
    counts as a failure, although its `x-cache` still says how it was answered.
    """
    if answer.age is not None:
        return answer.result
    good = answer.reply.ok and read.successful(call.body, answer.reply.body or b"")
    return answer.result if good else "failure"
