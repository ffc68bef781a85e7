"""Which statuses other than OK are stored instead of a message, and for how long: `negative_ttl` of a policy."""

from grpc import StatusCode

from proxy.calls.call import Reply
from proxy.calls.entry import negative
from proxy.calls.reads import Limits, Verdict

ERRORS = tuple(code.name for code in StatusCode if code is not StatusCode.OK)
"""The names of all statuses but OK."""
FORBIDDEN = "the origin forbids it (cache-control)"
"""The reason why an answer is not stored if its origin forbids it."""
_LONGEST_STATUS = 8192
"""Bytes of a stored status with its details; longer ones would not fit into a response's headers."""


def status_verdict(limits: Limits, reply: Reply, longest_ttl: float | None) -> Verdict | str:
    """How a status may be stored, or the reason why it may not be.

    `longest_ttl` is how long the origin allows, in seconds: 0 forbids it, None means that it sets no bound.
    """
    ttl = limits.negative_ttl.get(reply.code.name)
    if not ttl or reply.limit:
        return f"its status is {reply.code.name}"
    if longest_ttl == 0:
        return FORBIDDEN
    stored = negative(reply)
    if len(stored) > _LONGEST_STATUS:
        return f"the details of {reply.code.name} are longer than {_LONGEST_STATUS} bytes"
    return Verdict(negative=stored, longest_ttl=ttl if longest_ttl is None else min(ttl, longest_ttl))
