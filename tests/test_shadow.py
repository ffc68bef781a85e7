"""Shadow mode counts a difference only where callers would have seen other files."""

import pytest

from proxy.caching.shadow import same_files
from proxy.pb.media_pb2 import GetFilesByModelData, GetFilesByModelResponse, Media

URL = "https://files.example/1?X-Amz-Date=20260101T000000Z&X-Amz-Expires=86400&X-Amz-Signature="


def _body(*media: Media, **data: int) -> bytes:
    return GetFilesByModelResponse(success=True, data=GetFilesByModelData(media=media, **data)).SerializeToString()


def _media(signature: str = "a", **fields: str) -> Media:
    return Media(**({"id": 1, "uuid": "u", "presigned_url": URL + signature} | fields))  # type: ignore[arg-type]


def test_signatures_differ_each_time() -> None:
    assert same_files(_body(_media("a")), _body(_media("b")))


@pytest.mark.parametrize(
    "other",
    [
        _body(),
        _body(_media(), _media()),
        _body(_media(uuid="v")),
        _body(_media(presigned_url="https://files.example/2?X-Amz-Signature=a")),
        _body(_media(), total=1),
        b"\xff",
    ],
)
def test_other_files(other: bytes) -> None:
    assert not same_files(_body(_media()), other)
    assert not same_files(other, _body(_media()))


def test_bytes_that_are_no_message_are_compared_as_they_are() -> None:
    assert same_files(b"\xff", b"\xff")
    assert not same_files(b"\xff", b"\xfe")


def test_a_url_that_is_none_fails_nothing() -> None:
    broken = "http://[::1?x="
    assert same_files(_body(_media(presigned_url=broken + "a")), _body(_media(presigned_url=broken + "b")))
