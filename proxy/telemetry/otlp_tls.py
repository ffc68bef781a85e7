"""`RenewedExporter`: OTLP over TLS, by the files that the standard variables of OpenTelemetry name.

The SDK reads such a file once, and only logs when it is not there. Here they are a `Leg` like any other: what is bad
ends the start, and what is renewed makes a new exporter.
"""

from collections.abc import Callable, Sequence
from typing import Any

import grpc
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from proxy.errors import SettingError
from proxy.tls import Given, Leg

MakeExporter = Callable[..., SpanExporter]
"""The class of an exporter: it takes credentials (gRPC), or the files' paths (HTTP)."""


def collector_leg(ca: Given, cert: Given, key: Given) -> Leg | None:
    """The files of the collector's leg; None: none are given. SettingError: half a pair, or of no use."""
    for have, want in ((cert, key), (key, cert)):
        if have.path and not want.path:
            raise SettingError(
                f"{want.variable}: '' does not go with {have.variable}={have.path}; accepted: both, or neither"
            )
    return Leg("collector", ca, cert, key) if ca.path or cert.path else None


class RenewedExporter(SpanExporter):
    """Runs in the exporting thread, which looks at the files before each batch."""

    def __init__(self, make: MakeExporter, protocol: str, leg: Leg) -> None:
        self._make, self._protocol, self._leg = make, protocol, leg
        self._exporter = self._made()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """As the exporter does that the files now call for."""
        if self._leg.look():
            old, self._exporter = self._exporter, self._made()
            old.shutdown()
        return self._exporter.export(spans)

    def shutdown(self) -> None:
        """Gives up what is being sent."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is kept here."""
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
