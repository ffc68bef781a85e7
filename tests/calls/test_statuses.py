"""proxy.calls.statuses: which statuses are stored, and for how long."""

import pytest
from grpc import StatusCode

from proxy.calls.call import Reply
from proxy.calls.reads import Limits, Verdict
from proxy.calls.statuses import FORBIDDEN, status_verdict

LIMITS = Limits(negative_ttl={"NOT_FOUND": 30.0, "OUT_OF_RANGE": 0.0})
NOT_FOUND = Reply(code=StatusCode.NOT_FOUND, details="none")


@pytest.mark.parametrize(("origin", "ttl"), [(None, 30.0), (10.0, 10.0), (60.0, 30.0)])
def test_the_shorter_of_what_policy_and_origin_say_counts(origin: float | None, ttl: float) -> None:
    assert status_verdict(LIMITS, NOT_FOUND, origin) == Verdict(negative=b"5 4\nnone", longest_ttl=ttl)


@pytest.mark.parametrize(
    ("reply", "origin", "why"),
    [
        (Reply(code=StatusCode.UNAVAILABLE), None, "its status is UNAVAILABLE"),
        (Reply(code=StatusCode.OUT_OF_RANGE), None, "its status is OUT_OF_RANGE"),
        (Reply(code=StatusCode.NOT_FOUND, limit="MAX_CALLS"), None, "its status is NOT_FOUND"),
        (NOT_FOUND, 0.0, FORBIDDEN),
        (Reply(code=StatusCode.NOT_FOUND, details="x" * 9000), None, "the details of NOT_FOUND are longer than 8192"),
    ],
)
def test_what_is_not_stored_says_why(reply: Reply, origin: float | None, why: str) -> None:
    assert str(status_verdict(LIMITS, reply, origin)).startswith(why)
