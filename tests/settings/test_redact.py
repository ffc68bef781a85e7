"""What `proxy.redact` masks: credentials, however they were mistyped, and signatures; and what it leaves readable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settings.redact import redacted, without_bytes, without_credentials


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("localhost:6379", "localhost:6379"),
        ("[::1]:6379", "[::1]:6379"),
        ("redis://[::1]:6379/2", "redis://[::1]:6379/2"),
        ("redis://u:hidden@cache:6379/2", "redis://***@cache:6379/2"),
        ("rediss://:hidden@cache:6379/2?ssl_keyfile=/k", "rediss://***@cache:6379/2***"),
        ("redis+sentinel://u:hidden@h1:26379,h2:26379/main/0", "redis+sentinel://***@h1:26379,h2:26379/main/0"),
        ("amqp://u:hidden@h1/,amqp://u:hidden@h2/v", "amqp://***@h1/,amqp://***@h2/v"),
    ],
)
def test_an_address_keeps_all_that_is_no_credential(address: str, shown: str) -> None:
    assert without_credentials(address) == shown


@pytest.mark.parametrize(
    "address",
    [
        "redis://u:hid/den@cache:6379",
        "redis://u:hid?den@cache:6379",
        "redis://u:hid#den@cache:6379",
        "redis://u:hid@den@cache:6379",
        "amqp://u:hid,den@h1/",
        "amqp://hidden:1234,x@h1/",
        "u:hid://den@cache",
        "amqp:u:hidden@h1",
        "u:hidden@h1:5672",
        "amqp://u:hidden",
        "amqp://u:hidden/vhost",
        "redis://:hidden",
        ":hidden",
        "cache:6379,password=hidden",
        "redis://cache:6379?password=hidden",
        "amqp://u:hidden,amqp://h2",
    ],
)
def test_no_mistyped_address_shows_its_password(address: str) -> None:
    shown = without_credentials(address)
    assert "hid" not in shown
    assert "den" not in shown
    assert "***" in shown


@given(
    st.text(min_size=1), st.text(st.characters(exclude_characters="@"), min_size=1), st.sampled_from(["", "amqp://"])
)
def test_nothing_before_the_last_at_sign_is_shown(user: str, password: str, scheme: str) -> None:
    shown = without_credentials(f"{scheme}{user}:\N{SNOWMAN}{password}@host:1")
    assert "\N{SNOWMAN}" not in shown
    assert shown.endswith("***@host:1")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot reach amqp://u:hidden@h1/ now", "cannot reach amqp://***@h1/ now"),
        ("amqp://u:hid@den@h1/", "amqp://***@h1/"),
        ("http://s3/b/f?X-Amz-Date=1&X-Amz-Signature=hidden&x=1", "http://s3/b/f?X-Amz-Date=1&X-Amz-Signature=***&x=1"),
        ("x-amz-credential=hidden/20260101 x", "x-amz-credential=*** x"),
        ("X-Amz-Security-Token%3Dhidden", "X-Amz-Security-Token%3D***"),
        ("AWSAccessKeyId=hidden&Signature=hidden", "AWSAccessKeyId=***&Signature=***"),
        ("write to user@example.com, see http://docs/", "write to user@example.com, see http://docs/"),
        ("page=1&per_page=20", "page=1&per_page=20"),
    ],
)
def test_a_log_text_is_masked_where_it_holds_a_secret(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Invalid encoding on b'Bearer \\xffSECRET'", "Invalid encoding on <bytes>"),
        ("""b'it\\'s' and b"'", then (b"\\"",) end""", "<bytes> and <bytes>, then (<bytes>,) end"),
        ("UnicodeDecodeError('utf-8', b'cut sho", "UnicodeDecodeError('utf-8', <bytes>"),
        ("rb'x' of ab'c'", "<bytes> of ab'c'"),
        ("nothing", "nothing"),
    ],
)
def test_bytes_as_python_shows_them_are_not_shown(text: str, shown: str) -> None:
    assert without_bytes(text) == shown
