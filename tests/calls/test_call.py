"""A reply is OK only if it has its one message."""

import pytest
from grpc import StatusCode

from proxy.calls.call import Reply


@pytest.mark.parametrize(
    ("reply", "ok"),
    [
        (Reply(b"body"), True),
        (Reply(b""), True),  # the empty message is a message
        (Reply(None), False),
        (Reply(b"body", StatusCode.UNAVAILABLE), False),
        (Reply(None, StatusCode.UNAVAILABLE, "away"), False),
    ],
)
def test_ok(reply: Reply, ok: bool) -> None:
    assert reply.ok is ok
