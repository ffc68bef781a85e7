"""proxy.policy.builtin.operators: makes the request that the gateway would send."""

from proxy.pb.media_pb2 import GetFilesByModelRequest
from proxy.policy.builtin.operators import read_of
from tests.support.media_methods import POLICY


def test_the_call_is_a_read_of_the_policy() -> None:
    call = read_of("User", 123, "avatars", 2, 20, (("tenant", "7"),))
    request = GetFilesByModelRequest(model_type="User", model_id=123, collection_name="avatars", page=2, per_page=20)
    assert (GetFilesByModelRequest.FromString(call.body), call.metadata) == (request, (("tenant", "7"),))
    asked = POLICY.reads[call.method].asked(call.body)
    assert asked is not None
    assert asked.tag == "user/123"
