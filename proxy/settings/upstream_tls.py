"""`UpstreamTls`: how a service is reached over TLS, as UPSTREAM_TLS_* or a policy says. Paths are of PEM files."""

from dataclasses import dataclass
from typing import Self

from proxy.settings.config import Settings


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """Empty: the public CAs, no certificate of ours, the name that the address has."""

    ca: str = ""
    cert: str = ""
    key: str = ""
    server_name: str = ""
    on: bool = True
    """False: plaintext, whatever the settings say."""
    said_by: str = "UPSTREAM_TLS"
    """How messages name it: before `_CA`, `_CERT` and `_KEY`, or a policy's `upstream_tls`."""

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """For whatever says nothing else; None: plaintext."""
        if settings.upstream_tls != "on":
            return None
        return cls(
            settings.upstream_tls_ca,
            settings.upstream_tls_cert,
            settings.upstream_tls_key,
            settings.upstream_tls_server_name,
        )
