"""When each vendor's URLs say that they stop working; `test_lifetime.py` tests what that means for an answer."""

import base64
import json
from datetime import UTC, datetime

import pytest

from proxy.calls.presigned import End, end_of

SIGNED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "query",
    [
        "OSSAccessKeyId=x&Expires={end}&Signature=y",
        "x-oss-signature-version=OSS2&x-oss-expires={end}&x-oss-signature=y",
        "sv=2024-11-04&se={iso}&sr=b&sp=r&sig=y",
        "sv=2024-11-04&se={iso}&ske=2027-01-01T00:00:00Z&sig=y",
        "sv=2024-11-04&ske={iso}&se=2027-01-01T00:00:00Z&sig=y",
        "sv=2024-11-04&se=2026-01-02T03:04:05.0000000Z&sig=y",
        "sv=2024-11-04&se=2026-01-02T05:04:05%2B02:00&sig=y",
        "sv=2024-11-04&se=2026-01-02T05:04:05+02:00&sig=y",
        "Policy={policy}&Signature=y&Key-Pair-Id=K",
        "token={jwt}",
        "hdnts=st=1~exp={end}~acl=*~hmac=y",
        "token=y&expire={end}",
        "exp={end}&hmac=y",
        "Expires={end}&Expires=1999999999&Signature=y",
        "Expires=1999999999&Expires={end}&Signature=y",
        "a={jwt}",
        "__cld_token__=exp={end}~hmac=y",
        "hdntl=Expires={end}~URLPrefix=x~Signature=y",
        "token={end}_0123abcd",
        "temp_url_sig=y&temp_url_expires={end}",
        "w=1&exp={end}&s=0123456789abcdef0123456789abcdef",
        "v=1&amp;Expires={end}&amp;Signature=y",
        "url=https%3A%2F%2Ffiles.example%2Fa%3FExpires%3D{end}%26Signature%3Dy",
        "url=https%253A%252F%252Ffiles.example%252Fa%253FExpires%253D{end}%2526Signature%253Dy",
        "v=1&amp;amp;Expires={end}&#38;Signature=y",
        "Expires={end}\\u0026Signature=y",
        "Expires={end};Signature=y;Key-Pair-Id=K",
        "Expires%3D{end}%26Signature%3Dy",
        "EXPIRES={end}&SIGNATURE=y",
        "SV=2024-11-04&SE={iso}&SIG=y",
        "temp_url_sig=y&temp_url_expires={iso}",
        "_upt=0123abcd{end}",
    ],
)
def test_a_moment_is_read_wherever_its_vendor_puts_it(query: str) -> None:
    end = int(SIGNED)
    statement = {"Resource": "*", "Condition": {"DateLessThan": {"AWS:EpochTime": end}}}
    later = {"Resource": "*", "Condition": {"DateLessThan": {"AWS:EpochTime": end + 60}}}
    policy = base64.b64encode(json.dumps({"Statement": [later, statement]}).encode()).decode()
    jwt = f"eyJhbGciOiJIUzI1NiJ9.{base64.urlsafe_b64encode(json.dumps({'exp': end}).encode()).decode()}.y"
    filled = query.format(
        end=end,
        iso="2026-01-02T03:04:05Z",
        policy=policy.translate(str.maketrans("+=/", "-_~")),
        jwt=jwt.replace("=", ""),
    )
    assert end_of(f"https://files.example/a.jpg?{filled}") == End(at=end)


def test_an_end_in_a_message_of_active_storages() -> None:
    def url(end: str | None) -> str:
        message = json.dumps({"_rails": {"message": "BAhJ", "exp": end, "pur": "blob_key"}}).encode()
        return f"https://app.example/disk/{base64.b64encode(message).decode()}--{'0f' * 20}/a.jpg"

    assert end_of(url("2026-01-02T03:04:05.000Z")) == End(at=SIGNED)
    assert end_of(url(None)) is None


@pytest.mark.parametrize("broken", ["{}", "{}.jpg", "{}/name.jpg"])
def test_a_url_in_base64_as_image_servers_have_it(broken: str) -> None:
    inner = f"https://files.example/a?Expires={int(SIGNED)}&Signature=y".encode()
    text = base64.urlsafe_b64encode(inner).decode().rstrip("=")
    parts = "/".join(text[at : at + 16] for at in range(0, len(text), 16))
    for each in (text, parts):
        assert end_of(f"https://images.example/AfrOrF3g/rs:fit:300/{broken.format(each)}") == End(at=SIGNED)


@pytest.mark.parametrize(
    "path",
    [
        "p/0zJvQ7bXw2s9tYkLmN4pR8/n/space/b/bucket/o/a.jpg",
        "202601020304/0123456789abcdef0123456789abcdef/a.jpg",
        "0123456789abcdef0123456789abcdef/695734b5/a.jpg",
        "eVzKcQvVJ2tBq7Zb5zQ1mU==,1767323045/a.jpg",
    ],
)
def test_a_path_that_is_signed_and_says_no_end_that_can_be_told_from_a_begin(path: str) -> None:
    with pytest.raises(ValueError, match="no end can be read"):
        end_of(f"https://files.example/{path}")


@pytest.mark.parametrize("name", ["X-Amz-Security-Token", "security-token", "X-Amz-S3session-Token"])
def test_a_session_is_told_beside_the_end(name: str) -> None:
    assert end_of(f"https://e/?Expires=1767323045&Signature=x&{name}=y") == End(at=SIGNED, temporary=True)


@pytest.mark.parametrize(
    "path",
    [
        "hdnts=exp={end}~acl=/*~hmac=y/a.jpg",
        "bcdn_token=y&expires={end}&token_path=%2Fa/a.jpg",
        "edge-cache-token=Expires={end}&KeyName=k&Signature=y/a.jpg",
        "a.jpg;Expires={end}&Signature=y",
        "resize/100x100/https%3A%2F%2Ffiles.example%2Fa%3FExpires%3D{end}%26Signature%3Dy",
        "a.jpg#?Expires={end}&Signature=y",
    ],
)
def test_a_moment_in_the_path_or_the_fragment_is_read(path: str) -> None:
    assert end_of(f"https://files.example/{path.format(end=int(SIGNED))}") == End(at=SIGNED)


@pytest.mark.parametrize(
    "query",
    [
        "X-Obs-Date={date}&X-Obs-Expires=60&X-Obs-Signature=y",
        "sign=q-sign-time%3D{begin}%3B{end}%26q-key-time%3D{begin}%3B{end}%26q-signature%3Dy",
        "url=https%3A%2F%2Fa.example%2Fa%3FX-Amz-Date%3D{date}%26X-Amz-Expires%3D60%26X-Amz-Signature%3Dy",
        "v=1?X-Amz-Date={date}&X-Amz-Expires=60&X-Amz-Signature=y",
        "X-Amz-Date={date}&X-Amz-Signature=y#X-Amz-Expires=60",
        "X-Amz-Date={date}&X-Amz-Expires=60&X-Amz-Expires=600&X-Amz-Signature=y",
    ],
)
def test_a_life_is_read_wherever_it_is(query: str) -> None:
    end = int(SIGNED)
    filled = query.format(begin=end - 60, end=end, date="20260102T030305Z")
    for query_ in (filled, filled.upper() if "%" not in filled else filled):
        assert end_of(f"https://files.example/a.jpg?{query_}") == End(at=SIGNED, life=60.0)


@pytest.mark.parametrize("key", ["X-Amz-Credential=ASIAXYZ%2F20260102", "OSSAccessKeyId=STS.abc"])
def test_a_key_that_ends_with_a_session_is_known_by_its_name(key: str) -> None:
    assert end_of(f"https://e/?Expires=1767323045&Signature=x&{key}") == End(at=SIGNED, temporary=True)


@pytest.mark.parametrize(
    "query",
    [
        "verify=1767323045-iVzKcQvVJ2tBq7Zb5zQ1mUoU8t8B2w3dZr3uYh4kqfE%3D",
        "KEY1=0123456789abcdef0123456789abcdef&KEY2=69573725",
        "st=eVzKcQvVJ2tBq7Zb5zQ1mU&e=1767323045",
        "secure=eVzKcQvVJ2tBq7Zb5zQ1mU==,1767323045",
        "ex=69573725&is=6955e5a5&hm=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "wowzatokenendtime=1767323045&wowzatokenhash=y",
    ],
)
def test_what_looks_like_a_signature_and_a_time_is_unclear(query: str) -> None:
    """The time may be the end or the time of signing."""
    with pytest.raises(ValueError, match="no end can be read"):
        end_of(f"https://files.example/a.jpg?{query}")


@pytest.mark.parametrize("life", ["6_0", "%D9%A3", "60.0", "", "1e3"])
def test_a_life_that_no_vendor_reads_is_unclear(life: str) -> None:
    with pytest.raises(ValueError, match="is not a life"):
        end_of(f"https://files.example/a?X-Amz-Date=20260102T030305Z&X-Amz-Expires={life}&X-Amz-Signature=y")


@pytest.mark.parametrize(
    "url",
    [
        "a.jpg?v=3&se=x&e=y",
        "a.jpg?v=1767323045&w=200&s=0123456789abcdef0123456789abcdef",
        "image/upload/s--abcdEFGH--/v1767323045/a.jpg",
        "0123456789abcdef0123456789abcdef/token/a.jpg?etag=0123456789abcdef0123456789abcdef&t=1767323045",
        "a.jpg?exp=high&t=1767323045#token",
    ],
)
def test_a_url_that_is_not_signed_tells_none(url: str) -> None:
    assert end_of(f"https://files.example/{url}") is None


def test_one_that_is_signed_and_tells_none_is_unclear() -> None:
    with pytest.raises(ValueError, match="no end can be read"):
        end_of("https://files.example/a.jpg?Signature=x")
