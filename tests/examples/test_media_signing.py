"""The URLs that the reference media service signs."""

from urllib.parse import parse_qs, urlsplit

from examples.media_service.signing import Signer

NOW = 1_700_000_000.0


def test_the_signature_is_the_one_of_amazons_example() -> None:
    # https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
    signer = Signer(
        base_url="https://examplebucket.s3.amazonaws.com",
        access_key="AKIAIOSFODNN7EXAMPLE",
        secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    )

    url = signer.url("test.txt", 86400, 1369353600)

    assert url == (
        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


def test_a_name_cannot_change_the_url_around_it() -> None:
    url = Signer().url("uuid/a?b=c&X-Amz-Expires=1#ü.jpg", 60, NOW)

    assert urlsplit(url).path == "/media/uuid/a%3Fb%3Dc%26X-Amz-Expires%3D1%23%C3%BC.jpg"
    assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == ["60"]
