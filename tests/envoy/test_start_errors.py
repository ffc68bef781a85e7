"""Envoy's own line about a failed start, and the setting that it is about."""

import pytest

from proxy.envoy.start_errors import explained
from proxy.settings.config import Settings

SETTINGS = Settings(
    listen_addr="127.0.0.1:1", media_service_addr="media:2", upstream_tls="on", upstream_tls_ca="/ca.pem"
)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            ["error adding listener 'callers': cannot bind '127.0.0.1:1': Address already in use", "exiting"],
            "LISTEN_ADDR: '127.0.0.1:1' cannot be opened to listen on; accepted: a free port of a local address",
        ),
        (
            ["malformed cluster"],
            "MEDIA_SERVICE_ADDR: 'media:2' is not accepted by Envoy, which says: malformed cluster",
        ),
        (["no\n such  thing", " "], "TRANSPORT: 'grpcio' is not accepted by Envoy, which says: no such thing"),
        (["no /ca.pem"], "UPSTREAM_TLS_CA: '/ca.pem' is not accepted by Envoy, which says: no /ca.pem"),
        ([], "TRANSPORT=envoy: Envoy exited at once and gave no reason"),
    ],
)
def test_one_line(lines: list[str], told: str) -> None:
    assert explained(lines, SETTINGS) == told
