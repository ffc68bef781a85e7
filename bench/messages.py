"""The requests and answers of the benchmarks: one read of an avatar, and answers of any size."""

import struct
from datetime import UTC, datetime

from proxy.pb import media_pb2 as pb

READ = "/media.MediaService/GetFilesByModel"
FORWARDED = "/media.MediaService/GetFileByID"
STREAM = "/bench.Files/Download"
"""A method that no policy knows: 1 MiB in messages of 64 KiB for one request."""

STREAM_MESSAGES, STREAM_MESSAGE = 16, bytes(64 << 10)


def read(model_id: int = 1, *, page: int = 1, size: int = 0) -> bytes:
    """The request for a user's avatar; its answer is padded by `size` bytes."""
    collection = f"avatars-{size}" if size else "avatars"
    request = pb.GetFilesByModelRequest(
        model_type="User", model_id=model_id, collection_name=collection, page=page, per_page=1
    )
    return request.SerializeToString()


def media(model_type: str, model_id: int, *, size: int = 0, url: str = "") -> pb.Media:
    """One file, padded by `size` bytes."""
    return pb.Media(
        id=model_id,
        model_type=model_type,
        model_id=model_id,
        uuid="9f1b7c52-6f0e-4c1c-9a55-6d2d3e5a7b10",
        collection_name="avatars",
        name="avatar",
        file_name="avatar.jpg",
        mime_type="image/jpeg",
        disk="s3",
        conversions_disk="s3",
        size=52428,
        custom_properties="x" * size,
        created_at=1700000000,
        updated_at=1700000000,
        presigned_url=url,
    )


def answer(request: pb.GetFilesByModelRequest) -> pb.GetFilesByModelResponse:
    """The answer to `read`: about 500 bytes, most of them its presigned URL, plus `size` bytes."""
    size = int(request.collection_name.partition("-")[2] or 0)
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    url = (
        f"https://s3.example.com/media/{request.model_id}/avatar.jpg?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        f"&X-Amz-Credential=MEDIAEXAMPLEKEY%2F{stamp[:8]}%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date={stamp}"
        f"&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature={'0123456789abcdef' * 4}"
    )
    found = media(request.model_type, request.model_id, size=size, url=url)
    data = pb.GetFilesByModelData(media=[found], total=1, page=1, per_page=1)
    return pb.GetFilesByModelResponse(success=True, message="ok", data=data)


def forwarded() -> pb.GetFileByIDResponse:
    """The answer to a read of file 1 by its id."""
    return pb.GetFileByIDResponse(success=True, message="ok", data=media("User", 1))


def framed(body: bytes) -> bytes:
    """A message in gRPC's framing: the flag for no compression, the length, the message."""
    return struct.pack(">BI", 0, len(body)) + body
