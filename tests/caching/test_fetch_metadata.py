"""proxy.caching.fetch_metadata: the metadata of a caller that is sent with a fetch for other callers, too."""

from dataclasses import replace

from proxy.caching.fetch_metadata import carried
from proxy.calls.call import Call
from proxy.calls.reads import Limits
from tests.support.media_methods import GET_FILES_BY_MODEL, READ, MediaKeys

METADATA = (("authorization", "a"), ("x-tenant", "t"), ("x-flag", "f"), ("traceparent", "p"), ("authorization", "b"))
CALL = Call(GET_FILES_BY_MODEL, b"", METADATA, 5.0)


def sent(limits: Limits) -> Call:
    key = MediaKeys("media", ("authorization",)).of_call(CALL)
    assert key is not None
    return carried(CALL, replace(key, read=replace(READ, limits=limits)))


def test_all_of_it_where_the_policy_says_so() -> None:
    assert sent(Limits(keyed=False)) is CALL


def test_else_what_is_in_the_key_tracing_and_what_is_propagated() -> None:
    assert sent(Limits(keyed=True)).metadata == (METADATA[0], METADATA[3], METADATA[4])
    assert sent(Limits(keyed=True, propagate=("x-flag",))).metadata == (*METADATA[:1], *METADATA[2:])
    assert sent(Limits(keyed=True)).deadline == 5.0
