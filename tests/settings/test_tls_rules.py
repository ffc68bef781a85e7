"""proxy.settings.tls_rules: which settings of TLS go together, and that a key is never shown."""

from typing import Any

import pytest

from proxy.settings.config import Settings
from proxy.settings.setting_types import RedisAddr
from proxy.settings.tls_rules import PemFile, ServerName

PAIR = {"listen_tls_cert": "/c", "listen_tls_key": "/k"}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            {"listen_tls_cert": "/c"},
            "LISTEN_TLS_KEY: '' does not go with LISTEN_TLS_CERT=/c; accepted: both, or neither",
        ),
        (
            {"listen_tls_key": "/k"},
            "LISTEN_TLS_CERT: '' does not go with LISTEN_TLS_KEY=/k; accepted: both, or neither",
        ),
        (
            {"upstream_tls": "on", "upstream_tls_key": "/k"},
            "UPSTREAM_TLS_CERT: '' does not go with UPSTREAM_TLS_KEY=/k; accepted: both, or neither",
        ),
        (
            {"redis_addr": "rediss://h", "redis_tls_cert": "/c"},
            "REDIS_TLS_KEY: '' does not go with REDIS_TLS_CERT=/c; accepted: both, or neither",
        ),
        (
            {"rabbitmq_addr": ("amqps://h",), "rabbitmq_tls_cert": "/c"},
            "RABBITMQ_TLS_KEY: '' does not go with RABBITMQ_TLS_CERT=/c; accepted: both, or neither",
        ),
        (
            {"listen_tls_client_ca": "/ca"},
            (
                "LISTEN_TLS_CLIENT_CA: '/ca' has no effect in plaintext; accepted: together with LISTEN_TLS_CERT and "
                "LISTEN_TLS_KEY, or empty"
            ),
        ),
        (
            {"upstream_tls_ca": "/ca"},
            "UPSTREAM_TLS_CA: '/ca' has no effect while UPSTREAM_TLS is off; accepted: with UPSTREAM_TLS=on, or empty",
        ),
        (
            {"upstream_tls_server_name": "media"},
            (
                "UPSTREAM_TLS_SERVER_NAME: 'media' has no effect while UPSTREAM_TLS is off; accepted: with "
                "UPSTREAM_TLS=on, or empty"
            ),
        ),
        (
            {"redis_addr": "redis://h", "redis_tls_ca": "/ca"},
            "REDIS_TLS_CA: '/ca' has no effect on a REDIS_ADDR without TLS; accepted: with a rediss address, or empty",
        ),
        (
            {"redis_addr": "", "redis_tls_server_name": "redis"},
            (
                "REDIS_TLS_SERVER_NAME: 'redis' has no effect on a REDIS_ADDR without TLS; accepted: with a rediss "
                "address, or empty"
            ),
        ),
        (
            {"redis_addr": "rediss://h?ssl_cert_reqs=none", "redis_tls_ca": "/ca"},
            (
                "REDIS_TLS_CA: '/ca' has no effect beside TLS options in REDIS_ADDR; accepted: one of the two "
                "ways, or empty"
            ),
        ),
        (
            {"rabbitmq_addr": ("amqp://h",), "rabbitmq_tls_ca": "/ca"},
            (
                "RABBITMQ_TLS_CA: '/ca' has no effect on a RABBITMQ_ADDR without TLS; accepted: with an amqps "
                "address, or empty"
            ),
        ),
        (
            {"rabbitmq_addr": ("amqps://h?heartbeat=9&cafile=/ca",), "rabbitmq_tls_ca": "/ca"},
            (
                "RABBITMQ_TLS_CA: '/ca' has no effect beside TLS options in RABBITMQ_ADDR; accepted: one of the two "
                "ways, or empty"
            ),
        ),
    ],
)
def test_what_does_not_fit_together(given: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=r".") as refusal:
        Settings(**_parsed(given))
    assert str(refusal.value) == line


@pytest.mark.parametrize(
    "given",
    [
        PAIR,
        {**PAIR, "listen_tls_client_ca": "/ca"},
        {"upstream_tls": "on"},
        {"upstream_tls": "on", "upstream_tls_ca": "/ca", "upstream_tls_cert": "/c", "upstream_tls_key": "/k"},
        *(
            {"redis_addr": f"rediss{kind}", "redis_tls_ca": "/ca"}
            for kind in ("://h", "+sentinel://h/m", "+cluster://h")
        ),
        {"redis_addr": "rediss://h?ssl_cert_reqs=none"},
        {"rabbitmq_addr": ("amqp://a", "amqps://b?heartbeat=9"), "rabbitmq_tls_ca": "/ca"},
        {"rabbitmq_addr": ("amqps://h?no_verify_ssl=1",)},
    ],
)
def test_what_does(given: dict[str, Any]) -> None:
    Settings(**_parsed(given))


def _parsed(given: dict[str, Any]) -> dict[str, Any]:
    return {**given, "redis_addr": RedisAddr().parse(given.get("redis_addr", "localhost:6379"))}


@pytest.mark.parametrize("text", ["-----BEGIN PRIVATE KEY-----\nMC4CAQAw", "MC4CAQAw\n", "-----BEGIN-----"])
def test_a_key_in_the_place_of_its_path_is_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match=r"BEGIN|MC4"):
        PemFile().parse(text)
    assert PemFile().shown(text) == "***"


@pytest.mark.parametrize("name", ["media.test", "10.0.0.7", "::1", "_redis", ""])
def test_server_names(name: str) -> None:
    assert ServerName().parse(name) == name


@pytest.mark.parametrize("name", ["a b", "a/b", "*.test", "a" * 254])
def test_no_server_names(name: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        ServerName().parse(name)
