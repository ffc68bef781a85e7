"""OpenTelemetry's own variables: how `config` shows them, and whether they ask for traces at all.

`proxy.telemetry.span_export` and OpenTelemetry's SDK read the rest of what they say.
"""

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
"""The values of variables that are not set. Without an endpoint nothing is traced."""
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_HEADER = re.compile(r"(=)[^,]*")


def shown(environment: Mapping[str, str] = os.environ) -> dict[str, tuple[str, str]]:
    """Each variable of `DEFAULTS`, and each other one that is set and begins with OTEL_: its value, with credentials
    masked, and its source, `default` or `environment`.
    """
    given = {name: value for name, value in environment.items() if name.startswith("OTEL_") and value.strip()}
    found = {name: (value, "default") for name, value in DEFAULTS.items()}
    found |= {name: (_masked(name, value.strip()), "environment") for name, value in given.items()}
    return dict(sorted(found.items()))


def given(*names: str) -> str:
    """The value of the first of these variables that is set and not empty; "" if none is."""
    return next((value for name in names if (value := os.environ.get(name, "").strip())), "")


def tidy() -> None:
    """Makes the SDK read the variables as `given` does: without spaces around a value, and an empty one as unset."""
    for name, text in [(name, text) for name, text in os.environ.items() if name.startswith("OTEL_")]:
        if text.strip():
            os.environ[name] = text.strip()
        else:
            del os.environ[name]


def traced() -> bool:
    """Whether spans are made and sent: an endpoint is set, and no other variable turns tracing off."""
    off = given("OTEL_SDK_DISABLED").lower() == "true" or given("OTEL_TRACES_EXPORTER") == "none"
    return bool(given(*ENDPOINTS)) and not off and given("OTEL_TRACES_SAMPLER").lower() != "always_off"


def _masked(name: str, value: str) -> str:
    if name.endswith("_HEADERS"):
        return _HEADER.sub(r"\1***", value) if "=" in value else "***"
    return without_credentials(value) if name.endswith("_ENDPOINT") else redacted(value)
