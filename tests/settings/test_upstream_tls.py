"""proxy.settings.upstream_tls: how a service is reached where nothing else is said."""

from proxy.settings.config import Settings
from proxy.settings.upstream_tls import UpstreamTls


def test_it_is_what_the_settings_say() -> None:
    assert UpstreamTls.of(Settings()) is None
    assert UpstreamTls.of(Settings(upstream_tls="on")) == UpstreamTls()
    said = UpstreamTls.of(Settings(upstream_tls="on", upstream_tls_ca="/ca", upstream_tls_server_name="media"))
    assert said == UpstreamTls(ca="/ca", server_name="media")
