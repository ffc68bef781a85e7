"""How Envoy ends calls: the status of those that it answers itself, and what it counts. Pure.

It counts by route, gRPC status and *response flag*, which says why Envoy itself answered: all calls for `outcomes`; for
`forwarded` those that the core does not answer, with their duration.

https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage (%RESPONSE_FLAGS%)
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Any

from proxy.envoy.addresses import Json
from proxy.envoy.http2 import extension

OURS, OTHER = "ours", "other"
"""Names of routes: health and reflection; methods that the policy does not name. The others are methods' labels."""
CORE = "core:"
"""How the names of routes to the core begin: what goes there by a policy that changes cannot be told by its path."""
PREFIX, COUNTED = "callers_ended", "forwarded"
"""Of the statistics that `outcomes` and `forwarded` read."""


class Status(IntEnum):
    """gRPC's numbers of those. The library has them, too: `serve` does without it, and takes 2 MB less."""

    RESOURCE_EXHAUSTED = 8
    INTERNAL = 13
    UNAVAILABLE = 14


def too_many_calls(most: int) -> str:
    """What a caller above MAX_CONCURRENT_CALLS is told."""
    return f"the proxy serves at most {most} calls at once (MAX_CONCURRENT_CALLS)"


def local_replies(most_calls: int) -> Json:
    """What Envoy answers itself, with the status that gRPC has for it; by default all of it is UNAVAILABLE, on which
    callers make calls again. The first that fits counts.

    Envoy does not tell with which code upstream reset a call. Of RST_STREAM's fourteen most are INTERNAL to gRPC.
    """
    words = {"body_format_override": {"text_format_source": {"inline_string": too_many_calls(most_calls)}}}
    return {
        "mappers": [
            {**_answered("UO", Status.RESOURCE_EXHAUSTED), **words},
            _answered("URX", Status.UNAVAILABLE),  # never processed, twice
            _answered("UR", Status.INTERNAL),
            _answered("UPE", Status.INTERNAL),
        ]
    }


def _answered(flag: str, code: Status) -> Json:
    """A mapper: what Envoy answers with this of its response flags has that status."""
    return {
        "filter": {"response_flag_filter": {"flags": [flag]}},
        "headers_to_add": [overwritten("grpc-status", str(code.value))["append"]],
    }


def overwritten(key: str, value: str) -> Json:
    """A header's mutation: it has this value and no other."""
    return {"append": {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}


def access_logs(reads: Iterable[str], writes: Iterable[str], stored: Json) -> list[Json]:
    """Both counts; nothing is written. The core answers `writes`, and `reads` that have the header `stored`."""
    elsewhere = [
        *map(_not, map(_path, writes)),
        *({"or_filter": {"filters": [_not(_path(read)), _not(stored)]}} for read in reads),
    ]
    durations = {**_tagged(code="%GRPC_STATUS_NUMBER%"), "unit": "Milliseconds", "value_format": "%DURATION%"}
    counter = {**_tagged(status="%GRPC_STATUS(SNAKE_STRING)%"), "value_fixed": 1}
    return [
        _counting(PREFIX, counters=[counter]),
        {
            **_counting(COUNTED, histograms=[durations]),
            **({"filter": _all(elsewhere)} if elsewhere else {}),
        },
    ]


def _path(path: str) -> Json:
    return {"name": ":path", "string_match": {"exact": path}}


def _all(filters: list[Json]) -> Json:
    """Envoy's own filter for this takes two at least."""
    return filters[0] if len(filters) == 1 else {"and_filter": {"filters": filters}}


def _counting(prefix: str, **stats: Any) -> Json:
    kind = "access_loggers.stats.v3.Config"
    return extension("envoy.access_loggers.stats", kind, stats_scope={"prefix": prefix}, **stats)


def _tagged(**status: str) -> Json:
    tags = {"method": "%ROUTE_NAME%", **status, "flags": "%RESPONSE_FLAGS%"}
    return {"stat": {"name": "calls", "tags": [{"name": name, "value_format": text} for name, text in tags.items()]}}


def _not(header: Json) -> Json:
    return {"header_filter": {"header": {**header, "invert_match": True}}}
