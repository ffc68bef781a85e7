"""What a cacheable call counts as."""

import pytest
from grpc import StatusCode

from proxy.caching.fetches import Answer
from proxy.caching.outcome import Outcome, outcome
from proxy.calls.call import Call, Reply
from proxy.pb.media_pb2 import GetFilesByModelResponse
from tests.support.media_methods import GET_FILES_BY_MODEL, READ

CALL = Call(GET_FILES_BY_MODEL, b"")
GOOD = GetFilesByModelResponse(success=True, message="found").SerializeToString()
BAD = GetFilesByModelResponse(success=False, message="database away").SerializeToString()


@pytest.mark.parametrize(
    ("answer", "counted"),
    [
        (Answer(Reply(GOOD), "miss"), "miss"),
        (Answer(Reply(GOOD), "bypass"), "bypass"),
        (Answer(Reply(GOOD), "hit", 3), "hit"),
        (Answer(Reply(GOOD), "stale", 3), "stale"),
        (Answer(Reply(BAD), "miss"), "failure"),
        (Answer(Reply(BAD), "bypass"), "failure"),
        (Answer(Reply(b""), "miss"), "failure"),
        (Answer(Reply(code=StatusCode.UNAVAILABLE), "miss"), "failure"),
        (Answer(Reply(code=StatusCode.NOT_FOUND), "coalesced"), "failure"),
        (Answer(Reply(code=StatusCode.NOT_FOUND), "hit", 3), "hit"),
        (Answer(Reply(b"\xff"), "miss"), "miss"),
    ],
)
def test_failures_are_a_result_of_their_own(answer: Answer, counted: Outcome) -> None:
    assert outcome(answer, READ, CALL) == counted
