"""Where each vendor's URL says when it stops working; what becomes of the answer is `test_lifetime.py`'s."""

import base64
import json
from datetime import UTC, datetime

import pytest

from proxy.media.presigned import End, end_of

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


@pytest.mark.parametrize("name", ["X-Amz-Security-Token", "security-token", "X-Amz-S3session-Token"])
def test_a_session_is_told_beside_the_end(name: str) -> None:
    assert end_of(f"https://e/?Expires=1767323045&Signature=x&{name}=y") == End(at=SIGNED, temporary=True)


def test_a_url_that_is_not_signed_tells_none() -> None:
    assert end_of("https://files.example/a.jpg?v=3&se=x&e=y") is None


def test_one_that_is_signed_and_tells_none_is_unclear() -> None:
    with pytest.raises(ValueError, match="no end that can be read"):
        end_of("https://files.example/a.jpg?Signature=x")
