"""The query of a Redis address: TLS options for rediss, the Sentinels' password for Sentinel; nothing else."""

import pytest

from proxy.settings.redis_query import redis_query
from proxy.settings.setting_types import RedisAddr


@pytest.mark.parametrize(
    ("query", "scheme", "kind", "found"),
    [
        ("", "redis", None, ("", "")),
        ("ssl_ca_certs=/ca.pem&ssl_cert_reqs=none", "rediss", None, ("ssl_ca_certs=/ca.pem&ssl_cert_reqs=none", "")),
        ("sentinel_password=a%26b", "redis", "sentinel", ("", "a&b")),
        ("ssl_ca_certs=/a&sentinel_password=x", "rediss", "sentinel", ("ssl_ca_certs=/a", "x")),
    ],
)
def test_what_is_understood(query: str, scheme: str, kind: str | None, found: tuple[str, str]) -> None:
    assert redis_query(query, scheme, kind) == found


@pytest.mark.parametrize(
    ("query", "scheme", "kind"),
    [
        ("ssl_ca_certs=/ca.pem", "redis", None),
        ("sentinel_password=x", "redis", None),
        ("sentinel_password=x", "redis", "cluster"),
        ("sentinel_password=x&sentinel_password=y", "redis", "sentinel"),
        ("db=1", "redis", "sentinel"),
        ("nonsense", "rediss", None),
    ],
)
def test_what_is_not(query: str, scheme: str, kind: str | None) -> None:
    with pytest.raises(ValueError, match=r"sentinel_password|bad query"):
        redis_query(query, scheme, kind)


def test_the_password_is_shown_nowhere() -> None:
    target = RedisAddr().parse("redis+sentinel://h:1/media?sentinel_password=canary")
    assert target is not None
    assert target.sentinel_password == "canary"
    assert "canary" not in f"{target} {target!r} {target.url}"
