"""Whether the sidecar would start with the environment that it would get."""

from typing import Any

import pytest

from proxy.injector.sidecar_settings import trouble


def literal(**variables: str) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in variables.items()]


def secret(name: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}


@pytest.mark.parametrize(
    "environment",
    [
        [],
        literal(CACHE_TTL="24h", CACHE_STALE_IF_ERROR="0s"),
        literal(CACHE_TTL="", CACHE_MODE="shadow", UNKNOWN="x"),
        [secret("REDIS_ADDR"), *literal(REDIS_TLS_CA="/ca.pem")],
        [secret("RABBITMQ_ADDR"), *literal(RABBITMQ_TLS_CA="/ca.pem")],
        [secret("CACHE_TTL"), *literal(CACHE_STALE_IF_ERROR="24h")],
        [secret("LISTEN_TLS_KEY"), *literal(LISTEN_TLS_CERT="/c")],
        [secret("UPSTREAM_TLS"), *literal(UPSTREAM_TLS_CA="/c")],
        literal(CACHE_TTL="$(TTL)"),
        literal(CACHE_TTL="soon") + literal(CACHE_TTL="1h"),
    ],
    ids=str,
)
def test_it_would_start(environment: list[dict[str, Any]]) -> None:
    assert trouble(environment) is None


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (literal(CACHE_TTL="5h", CACHE_STALE_IF_ERROR="20h"), "CACHE_TTL: '5h' with CACHE_STALE_IF_ERROR of '20h'"),
        (literal(CACHE_TTL="24h"), "CACHE_TTL: '24h' with CACHE_STALE_IF_ERROR of '10m'"),
        (literal(CACHE_TTL="soon"), "CACHE_TTL: 'soon' is not understood"),
        (literal(REDIS_ADDR="redis:1", REDIS_TLS_CA="/ca.pem"), "REDIS_TLS_CA: '/ca.pem' has no effect"),
        (literal(MEDIA_SERVICE_ADDR="localhost:50066"), "MEDIA_SERVICE_ADDR: 'localhost:50066' is this proxy's own"),
        ([secret("REDIS_ADDR"), *literal(LISTEN_TLS_CERT="/c")], "LISTEN_TLS_KEY: '' does not go with"),
        (literal(CACHE_TTL="1h") + literal(CACHE_TTL="soon"), "CACHE_TTL: 'soon'"),
    ],
    ids=str,
)
def test_it_would_not(environment: list[dict[str, Any]], said: str) -> None:
    found = trouble(environment)
    assert found is not None
    assert found.startswith(said)
