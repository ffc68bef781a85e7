"""The options after the `?` of a Redis address: TLS options of rediss, and the Sentinels' own password."""

import re
from urllib.parse import parse_qsl

_TLS = {
    "ssl_ca_certs": r".+",
    "ssl_certfile": r".+",
    "ssl_keyfile": r".+",
    "ssl_cert_reqs": r"none|optional|required",
    "ssl_check_hostname": r"true|false",
}
"""redis-py takes any other name too, and fails on it at each connection."""
_PASSWORD = "sentinel_password"  # noqa: S105 -- the name of one


def redis_query(query: str, scheme: str, kind: str | None) -> tuple[str, str]:
    """What of it is for redis-py, and the Sentinels' password; ValueError when anything is not understood. `scheme` is
    redis or rediss, `kind` sentinel, cluster or None.
    """
    pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    passwords = [value for name, value in pairs if name == _PASSWORD]
    tls = [(name, value) for name, value in pairs if name != _PASSWORD]
    known = all(name in _TLS and re.fullmatch(_TLS[name], value) for name, value in tls)
    if not known or (tls and scheme != "rediss") or (passwords and (kind != "sentinel" or len(passwords) > 1)):
        raise ValueError(_PASSWORD)
    rest = [each for each in query.split("&") if each and not each.startswith(f"{_PASSWORD}=")]
    return "&".join(rest), "".join(passwords)
