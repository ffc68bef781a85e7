"""Which status other than OK is stored in the place of an answer, and for how long: `negative_ttl` of a policy."""

from grpc import StatusCode

from proxy.calls.call import Reply
from proxy.calls.entry import negative
from proxy.calls.reads import Limits, Verdict

ERRORS = tuple(code.name for code in StatusCode if code is not StatusCode.OK)
"""The names of all but OK."""
FORBIDDEN = "the origin forbids it (cache-control)"
"""Why an answer is not stored whose origin does not want that."""
_LONGEST_STATUS = 8192
"""Bytes of a status with its details; its headers have no room for more."""


def status_verdict(limits: Limits, reply: Reply, longest_ttl: float | None) -> Verdict | str:
    """How a status may be stored, or why it may not. `longest_ttl`: what the origin says of it; 0: not at all."""
    ttl = limits.negative_ttl.get(reply.code.name)
    if not ttl or reply.limit:
        return f"its status is {reply.code.name}"
    if longest_ttl == 0:
        return FORBIDDEN
    stored = negative(reply)
    if len(stored) > _LONGEST_STATUS:
        return f"the details of {reply.code.name} are longer than {_LONGEST_STATUS} bytes"
    return Verdict(negative=stored, longest_ttl=ttl if longest_ttl is None else min(ttl, longest_ttl))
