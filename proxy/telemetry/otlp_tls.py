"""`RenewedExporter`: OTLP over TLS, with the certificates that OpenTelemetry's standard variables name.

The SDK reads these files once, and only logs it when one is missing. Here they are a `Leg` like any other: a file that
cannot be used ends the start, and a file that was renewed leads to a new exporter.
"""

from collections.abc import Callable, Sequence
from typing import Any

import grpc
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from proxy.errors import SettingError
from proxy.tls import Given, Leg

MakeExporter = Callable[..., SpanExporter]
"""The class of an exporter, which takes credentials (gRPC) or the paths of the files (HTTP)."""


def collector_leg(ca: Given, cert: Given, key: Given) -> Leg | None:
    """The TLS files for the collector, or None if none are given.

    SettingError: a certificate lacks its key or a key its certificate, or a file cannot be used.
    """
    for have, want in ((cert, key), (key, cert)):
        if have.path and not want.path:
            raise SettingError(
                f"{want.variable}: '' does not go with {have.variable}={have.path}; accepted: both, or neither"
            )
    return Leg("collector", ca, cert, key) if ca.path or cert.path else None


class RenewedExporter(SpanExporter):
    """An exporter that looks at its files before each batch; it runs in the exporting thread."""

    def __init__(self, make: MakeExporter, protocol: str, leg: Leg) -> None:
        self._make, self._protocol, self._leg = make, protocol, leg
        self._exporter = self._made()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Exports with the files as they are now."""
        if self._leg.look():
            old, self._exporter = self._exporter, self._made()
            old.shutdown()
        return self._exporter.export(spans)

    def shutdown(self) -> None:
        """Ends the exporter, even while it is sending."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flushes the exporter; nothing is buffered here."""
        return self._exporter.force_flush(timeout_millis)

    def _made(self) -> SpanExporter:
        options: dict[str, Any]
        if self._protocol == "grpc":
            ca, cert, key = self._leg.pem
            options = {"credentials": grpc.ssl_channel_credentials(*(pem or None for pem in (ca, key, cert)))}
        else:
            ca_path, cert_path, key_path = (given.path or None for given in self._leg.given)
            options = {
                "certificate_file": ca_path,
                "client_certificate_file": cert_path,
                "client_key_file": key_path,
            }
        return self._make(**options)
