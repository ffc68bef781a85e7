"""Parses what follows the `?` in a Redis address: TLS options (rediss), and the Sentinels' password."""

import re
from urllib.parse import parse_qsl

_TLS = {
    "ssl_ca_certs": r".+",
    "ssl_certfile": r".+",
    "ssl_keyfile": r".+",
    "ssl_cert_reqs": r"none|optional|required",
    "ssl_check_hostname": r"true|false",
}
"""The accepted options, by name. redis-py accepts unknown ones as well, but then each attempt to connect fails."""
_PASSWORD = "sentinel_password"  # noqa: S105 -- the name of one


def redis_query(query: str, scheme: str, kind: str | None) -> tuple[str, str]:
    """The part of the query that is for redis-py, and the Sentinels' password or "".

    `scheme` is `redis` or `rediss`; `kind` is `sentinel`, `cluster` or None. ValueError: an option is unknown, has a
    wrong value or does not go with `scheme` or `kind`.
    """
    pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    passwords = [value for name, value in pairs if name == _PASSWORD]
    tls = [(name, value) for name, value in pairs if name != _PASSWORD]
    known = all(name in _TLS and re.fullmatch(_TLS[name], value) for name, value in tls)
    if not known or (tls and scheme != "rediss") or (passwords and (kind != "sentinel" or len(passwords) > 1)):
        raise ValueError(_PASSWORD)
    rest = [each for each in query.split("&") if each and not each.startswith(f"{_PASSWORD}=")]
    return "&".join(rest), "".join(passwords)
