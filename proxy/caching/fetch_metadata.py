"""Which of a caller's metadata is sent with a fetch whose answer other callers may get. Pure.

Other metadata could change the answer (a tenant, a language) without being part of its key.
"""

from proxy.calls.call import Call
from proxy.calls.keys import RequestKey

_TRACING = frozenset(
    {
        *("traceparent", "tracestate", "baggage", "b3", "uber-trace-id", "grpc-trace-bin", "x-request-id"),
        *("x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags"),
    }
)
"""Metadata that identifies calls for people; it does not change the service's answer."""


def carried(call: Call, key: RequestKey) -> Call:
    """The call as it goes upstream: with all its metadata if the read's metadata is not keyed, else with what is in its
    key, tracing headers and `propagate`.
    """
    limits = key.read.limits
    if not limits.keyed or not call.metadata:
        return call
    kept = tuple(
        pair for pair in call.metadata if pair[0] in key.vary or pair[0] in _TRACING or pair[0] in limits.propagate
    )
    return Call(call.method, call.body, kept, call.deadline)
