"""Turns what operators name, a model and which of its files, into a call of `media.MediaService`."""

from proxy.calls.call import Call, Metadata
from proxy.pb.media_pb2 import GetFilesByModelRequest
from proxy.policy.builtin.methods import GET_FILES_BY_MODEL

INT32 = range(-(2**31), 2**31)


def read_of(model_type: str, model_id: int, collection: str, page: int, per_page: int, metadata: Metadata = ()) -> Call:
    """The call that reads a model's files; raises EncodeError or ValueError if a value does not fit the message."""
    request = GetFilesByModelRequest(
        model_type=model_type, model_id=model_id, collection_name=collection, page=page, per_page=per_page
    )
    return Call(GET_FILES_BY_MODEL, request.SerializeToString(), metadata)
