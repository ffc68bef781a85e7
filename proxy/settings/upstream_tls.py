"""`UpstreamTls`: the TLS settings of the connection to a service, from UPSTREAM_TLS_* or from a policy."""

from dataclasses import dataclass
from typing import Self

from proxy.settings.config import Settings


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """The first three are paths of PEM files.

    Empty means: the public CAs, no client certificate, and the host of the service's address as its name.
    """

    ca: str = ""
    cert: str = ""
    key: str = ""
    server_name: str = ""
    on: bool = True
    """False: plaintext, whatever UPSTREAM_TLS says."""
    said_by: str = "UPSTREAM_TLS"
    """How messages name the source: a policy's `upstream_tls`, or what precedes `_CA`, `_CERT` and `_KEY`."""

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """The TLS of services whose policy says nothing about it; None means plaintext."""
        if settings.upstream_tls != "on":
            return None
        return cls(
            settings.upstream_tls_ca,
            settings.upstream_tls_cert,
            settings.upstream_tls_key,
            settings.upstream_tls_server_name,
        )
