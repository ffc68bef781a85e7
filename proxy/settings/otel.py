"""OpenTelemetry's own variables, as `config` shows them; `span_export` reads them for what they mean."""

import os
import re
from collections.abc import Mapping

from proxy.settings.redact import redacted, without_credentials

DEFAULTS = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    "OTEL_PROPAGATORS": "tracecontext",
    "OTEL_SERVICE_NAME": "media-cache-proxy",
    "OTEL_TRACES_SAMPLER": "parentbased_always_on",
}
"""What holds where a variable is not set; without an endpoint nothing is traced."""
_HEADER = re.compile(r"(=)[^,]*")


def shown(environment: Mapping[str, str] = os.environ) -> dict[str, tuple[str, str]]:
    """By variable its value, credentials masked, and its source: DEFAULTS, and what else begins with OTEL_."""
    given = {name: value for name, value in environment.items() if name.startswith("OTEL_") and value.strip()}
    found = {name: (value, "default") for name, value in DEFAULTS.items()}
    found |= {name: (_masked(name, value.strip()), "environment") for name, value in given.items()}
    return dict(sorted(found.items()))


def _masked(name: str, value: str) -> str:
    if name.endswith("_HEADERS"):
        return _HEADER.sub(r"\1***", value) if "=" in value else "***"
    return without_credentials(value) if name.endswith("_ENDPOINT") else redacted(value)
