"""Whether two answers name the same files: what shadow mode compares. Pure."""

from google.protobuf.message import DecodeError

from proxy.pb.media_pb2 import GetFilesByModelResponse


def same_files(stored: bytes, fetched: bytes) -> bool:
    """Equal but for the query of presigned URLs: date, life and signature differ each time they are signed."""
    return stored == fetched or _without_signatures(stored) == _without_signatures(fetched)


def _without_signatures(body: bytes) -> GetFilesByModelResponse | bytes:
    response = GetFilesByModelResponse()
    try:
        response.ParseFromString(body)
    except DecodeError:
        return body
    for media in response.data.media:
        media.presigned_url = media.presigned_url.partition("?")[0]
    return response
