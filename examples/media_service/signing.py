"""`Signer`: presigned URLs like S3's, with signature version 4 in the query.

The rules: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, urlencode, urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Signs GETs of objects below `base_url`. The default credentials open nothing anywhere."""

    base_url: str = "http://localhost:9000/media"
    region: str = "us-east-1"
    access_key: str = "MEDIAEXAMPLEKEY"
    secret_key: str = field(default="not-a-secret-this-is-the-reference-stack", repr=False)

    def url(self, key: str, expires: int, now: float) -> str:
        """Returns the URL of object `key`, valid for `expires` seconds after `now` (seconds since the epoch)."""
        at = datetime.fromtimestamp(now, UTC)
        stamp, scope = f"{at:%Y%m%dT%H%M%SZ}", f"{at:%Y%m%d}/{self.region}/s3/aws4_request"
        base = urlsplit(self.base_url)
        path = f"{base.path}/{quote(key, safe='/-_.~')}"
        query = urlencode(
            {
                "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
                "X-Amz-Credential": f"{self.access_key}/{scope}",
                "X-Amz-Date": stamp,
                "X-Amz-Expires": str(expires),
                "X-Amz-SignedHeaders": "host",
            },
            quote_via=quote,
            safe="-_.~",
        )
        request = f"GET\n{path}\n{query}\nhost:{base.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key_bytes = f"AWS4{self.secret_key}".encode()
        for part in scope.split("/"):
            key_bytes = _hmac(key_bytes, part)
        return f"{base.scheme}://{base.netloc}{path}?{query}&X-Amz-Signature={_hmac(key_bytes, to_sign).hex()}"


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
