"""What a Redis URL says besides the address."""

from proxy.settings.setting_types import RedisAddr
from proxy.store.redis_connecting import options


def test_credentials_database_and_tls_options() -> None:
    target = RedisAddr().parse("rediss+sentinel://u:p%40w@h1:1,h2:2/media/3?ssl_ca_certs=/ca.pem")
    assert target is not None
    given, tls = options(target)
    assert tls
    assert given == {"username": "u", "password": "p@w", "db": 3, "ssl_ca_certs": "/ca.pem"}


def test_none() -> None:
    target = RedisAddr().parse("redis://h:1")
    assert target is not None
    assert options(target) == ({}, False)
