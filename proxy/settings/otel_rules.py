"""`wrong`: which of OpenTelemetry's variables the proxy does not understand, one line for each.

OpenTelemetry's specification asks an SDK to warn about such a value and to go on with the default. The proxy treats the
variables as it treats its own settings: where spans are sent, the first of these lines ends the start. Where tracing is
off for another reason, the values have no effect, and each line is a warning.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points

from proxy.settings.otel import ENDPOINTS
from proxy.settings.redact import without_credentials

PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
INSECURE = ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE")
_HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
_COMPRESSIONS = ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION")
_COUNTS = (
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_EXPORT_TIMEOUT",
)
_SAMPLERS = tuple(
    f"{parent}{name}" for parent in ("", "parentbased_") for name in ("always_on", "always_off", "traceidratio")
)
_PAIR = re.compile(r"\s*[^\s=]+\s*=")
_MOST = 2**31 - 1
"""The largest number that OpenTelemetry's specification asks an SDK to accept."""


def wrong(environment: Mapping[str, str] = os.environ) -> list[str]:
    """One line for each variable that is not understood, without credentials; none where OTEL_SDK_DISABLED or
    OTEL_TRACES_EXPORTER turns tracing off.
    """
    given = {name: text.strip() for name, text in environment.items() if name.startswith("OTEL_") and text.strip()}
    if given.get("OTEL_SDK_DISABLED", "").lower() == "true" or given.get("OTEL_TRACES_EXPORTER") == "none":
        return []
    return [f"{name}: {text!r} is not understood; accepted: {accepted}" for name, text, accepted in _found(given)]


def _found(given: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Variable, the text that is wrong, and what is accepted."""
    yield from _unless(_is_one_of("true", "false"), given, ("OTEL_SDK_DISABLED", *INSECURE), "true, false")
    if not any(name in given for name in INSECURE):
        for name in ENDPOINTS:
            if name in given and not re.match(r"https?://[^/]", given[name]):
                yield name, without_credentials(given[name]), "a URL: http://host:4317, https:// for TLS"
    yield from _unless(lambda text: text == "otlp", given, ("OTEL_TRACES_EXPORTER",), "otlp, none")
    protocols = ("grpc", "http/protobuf")
    yield from _unless(lambda text: text in protocols, given, PROTOCOLS, ", ".join(protocols))
    pairs = "name=value, several separated by commas"
    yield from ((name, f"header {number}", pairs) for name in _HEADERS for number, _ in _no_pairs(given.get(name, "")))
    attributes = "OTEL_RESOURCE_ATTRIBUTES"
    yield from ((attributes, item.strip(), pairs) for _, item in _no_pairs(given.get(attributes, "")))
    yield from _unless(_is_one_of("gzip"), given, _COMPRESSIONS, "gzip, or empty for none")
    yield from _unless(_is_time, given, _TIMEOUTS, "seconds above 0, like 10")
    yield from _sampling(given)
    yield from _propagation(given.get("OTEL_PROPAGATORS", ""))
    yield from _unless(_is_count, given, _COUNTS, f"a whole number from 1 to {_MOST}")
    yield from _sizes(given)


def _sampling(given: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    yield from _unless(_is_one_of(*_SAMPLERS), given, ("OTEL_TRACES_SAMPLER",), ", ".join(_SAMPLERS))
    if "ratio" in given.get("OTEL_TRACES_SAMPLER", "").lower():
        yield from _unless(_is_share, given, ("OTEL_TRACES_SAMPLER_ARG",), "a share from 0 to 1, like 0.1")


def _propagation(names: str) -> Iterator[tuple[str, str, str]]:
    for name in (name.strip() for name in names.split(",") if names):
        if name != "none" and not entry_points(group="opentelemetry_propagator", name=name):
            yield "OTEL_PROPAGATORS", name, "tracecontext, baggage, b3, b3multi, jaeger, none"


def _sizes(given: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """A batch is taken out of the queue, so it cannot be larger."""
    queue, batch = (given.get(name, default) for name, default in zip(_COUNTS[:2], ("2048", "512"), strict=True))
    if _is_count(queue) and _is_count(batch) and int(batch) > int(queue):
        name = _COUNTS[1] if _COUNTS[1] in given else _COUNTS[0]
        accepted = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE (512) up to OTEL_BSP_MAX_QUEUE_SIZE (2048)"
        yield name, given[name], accepted


def _unless(
    right: Callable[[str], bool], given: Mapping[str, str], names: tuple[str, ...], accepted: str
) -> Iterator[tuple[str, str, str]]:
    yield from ((name, given[name], accepted) for name in names if name in given and not right(given[name]))


def _no_pairs(text: str) -> list[tuple[int, str]]:
    return [(number, item) for number, item in enumerate(text.split(","), 1) if item.strip() and not _PAIR.match(item)]


def _is_one_of(*words: str) -> Callable[[str], bool]:
    return lambda text: text.lower() in words


def _is_count(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,10}", text) is not None and 0 < int(text) <= _MOST


def _is_time(text: str) -> bool:
    return 0 < _number(text) < float("inf")


def _is_share(text: str) -> bool:
    return 0 <= _number(text) <= 1


def _number(text: str) -> float:
    """The number, or one that is in no range."""
    try:
        return float(text)
    except ValueError:
        return float("nan")
