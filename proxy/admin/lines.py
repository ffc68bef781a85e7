"""The lines that the operators' commands print; with `--json` they print the server's answers instead.

Model types, collection names and messages of other programs may contain anything, so every line is made `printable`.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from proxy.printable import printable
from proxy.settings.setting_types import Duration

_MOST_SHOWN = 5
_MOST_TAGS = 10
_LONGEST = 60
_STATES = {"well": "all is well", "limited": "working, with restrictions", "wrong": "something is wrong"}


def stats_lines(told: dict[str, Any]) -> list[str]:
    """The lines for an answer of `/stats`."""
    results, recent, upstream = told["results"], told["last_5_minutes"], told["upstream"]
    counts = ", ".join(f"{name} {count}" for name, count in results.items())
    rows = [
        ("state", _STATES[told["verdict"]["state"]]),
        *(("", reason) for reason in told["verdict"]["reasons"]),
        ("mode", f"{told['mode']}, ttl {Duration().text(told['ttl'])}"),
        ("up", ", ".join(filter(None, (_span(told["uptime"]), _memory(told["memory_bytes"]), told["unready"])))),
        *_envoy_row(told.get("envoy_restarts")),
        ("hit ratio", f"{_percent(recent['hit_ratio'])} in the last 5 minutes, {_percent(told['hit_ratio'])} in all"),
        ("answers", counts),
        *_method_rows(told["methods"]),
        ("a hit takes", f"p50 {ms(recent['hit_p50'])}, p99 {ms(recent['hit_p99'])} in the last 5 minutes"),
        ("a miss takes", f"p50 {ms(recent['miss_p50'])}, p99 {ms(recent['miss_p99'])} in the last 5 minutes"),
        (
            "upstream got",
            f"{_counted(upstream['calls'], 'call')}, {upstream['failures']} failed, p50 {ms(recent['upstream_p50'])}",
        ),
        *_callers_rows(told["callers"]),
        *((name, _dependency(state)) for name, state in told["dependencies"].items()),
        *((each["name"], _service(each)) for each in told["services"]),
        *((f"queue {queue['name']}", _depth(queue)) for queue in told["queues"]),
        ("pending", f"{_counted(told['invalidations']['pending'], 'invalidation')} not confirmed by Redis yet"),
        *([("flush", flush_line(flush))] if (flush := told.get("flush")) else []),
    ]
    last = told["invalidations"]["last"][:5]
    shown = [(_time(each["at"]), _whose(each), each["source"], each["detail"]) for each in last]
    invalidations = ["last invalidations" if shown else "no invalidations yet", *table(shown, "  ")]
    return [*table(rows), *_popular_lines(told["top_models"]), *invalidations]


def _popular_lines(top: dict[str, Any]) -> list[str]:
    """The models that were read most."""
    rows = [
        (
            f"{each['model_type']} {each['model_id']}".rstrip(),
            _counted(each["reads"], "read"),
            f"{_percent(each['cached'] / each['reads'])} from the cache",
        )
        for each in top["models"][:_MOST_SHOWN]
    ]
    return [f"most read in the last {_span(max(1.0, top['seconds']))}", *table(rows, "  ")] if rows else []


def _depth(queue: dict[str, Any]) -> str:
    waiting = f"{_counted(queue['waiting'], 'event')} waiting, {_counted(queue['consumers'], 'consumer')}"
    return f"{waiting}, as of {_span(queue['seconds'])} ago"


def flush_line(flush: dict[str, Any]) -> str:
    """The flush that is wanted or under way, and how far it is."""
    whose = ", ".join(flush["services"]) or "everything"
    if flush["share"] is None:
        return f"{whose}, waiting for {_span(flush['seconds'])}: {flush['reason']}"
    far = f"{flush['share'] * 100:.0f} %, {_counted(flush['tags'], 'model')} so far"
    return f"{whose}, {far}, for {_span(flush['seconds'])}: {flush['reason']}"


def _envoy_row(restarts: int | None) -> list[tuple[str, str]]:
    return [] if restarts is None else [("envoy", f"crashed and was restarted {_counted(restarts, 'time')}")]


def _memory(size: int | None) -> str:
    return "" if size is None else f"{size / (1 << 20):.0f} MiB of memory"


def _counted(number: int, noun: str, nouns: str = "") -> str:
    return f"{number} {noun if number == 1 else nouns or noun + 's'}"


def _method_rows(methods: dict[str, Any]) -> list[tuple[str, str]]:
    """The hit ratio of each read, if the policy has several."""
    if len(methods) < 2:
        return []
    return [
        (f"  {method}", f"hit ratio {_percent(told['hit_ratio'])}, {sum(told['results'].values())} answers")
        for method, told in methods.items()
    ]


def _callers_rows(callers: dict[str, Any]) -> list[tuple[str, str]]:
    """The statuses that callers got, what was refused, and how much of each limit is in use."""
    by_status, refused, limits = (callers[name] for name in ("by_status", "refused", "limits"))
    rows = [("callers got", ", ".join(f"{status} {count}" for status, count in by_status.items()) or "nothing yet")]
    if refused:
        rows.append(("refused", ", ".join(f"{count} by {limit}" for limit, count in refused.items())))
    used = [f"{limit} {use['used']} of {use['limit']}" for limit, use in limits.items() if use["used"]]
    rows.append(("in use", ", ".join(used) or "nothing"))
    return rows


def lookup_lines(told: dict[str, Any]) -> list[str]:
    """The lines for an answer of `/lookup`."""
    last = told["last_invalidation"]
    named = f"{told['model_type']} {told['model_id']}" if "model_type" in told else told["tag"]
    lines = [f"{printable(named)}: {len(told['entries'])} stored"]
    lines += [told["problem"]] if told.get("problem") else []
    lines += ["an invalidation is pending: Redis has not confirmed it yet"] if told["invalidation_pending"] else []
    lines += ["a write is in progress: nothing is stored until it has ended"] if told.get("writes") else []
    lines += [f"{_counted(len(told['leases']), 'fetch', 'fetches')} in progress"] if told.get("leases") else []
    lines += [f"last invalidated {_time(last['at'])} by {last['source']}, as seen by this proxy"] if last else []
    by_page = all(entry["collection"] is not None or entry["request"] is None for entry in told["entries"])
    header = (*(_BY_PAGE if by_page else _BY_REQUEST), "FOR", "STATE", "AGE", "FRESH FOR", "BYTES")
    rows = [
        (
            *(_paged(entry) if by_page else _requested(entry)),
            "one caller" if entry["by_caller"] else "everybody",
            entry["state"],
            *("-" if entry[name] is None else _span(entry[name]) for name in ("age", "ttl")),
            _or_dash(entry["bytes"]),
        )
        for entry in told["entries"]
    ]
    return [*lines, *_relations(told), *(table([header, *rows]) if rows else [])]


def _relations(told: dict[str, Any]) -> list[str]:
    """Which tags depend on each other, if the policy has further tags."""
    on = sorted({tag for entry in told["entries"] for tag in entry.get("further_tags") or ()})
    count, named = told.get("dependants_count", 0), [each["tag"] for each in told.get("dependants", ())]
    lines = [f"its answers also depend on {_listed(on, len(on))}"] if on else []
    return [*lines, f"an invalidation also removes what is stored under {_listed(named, count)}"] if count else lines


def _listed(tags: Sequence[str], count: int) -> str:
    shown = ", ".join(printable(tag) for tag in tags[:_MOST_TAGS])
    return shown if count <= _MOST_TAGS else f"{shown} and {count - _MOST_TAGS} more"


_BY_PAGE = ("COLLECTION", "PAGE", "PER PAGE")
_BY_REQUEST = ("METHOD", "REQUEST")


def _paged(entry: dict[str, Any]) -> tuple[str, ...]:
    """The request that an entry of the media service answers."""
    collection = entry["field"] if entry["collection"] is None else entry["collection"] or "(all)"
    return (collection, *(_or_dash(entry[name]) for name in ("page", "per_page")))


def _requested(entry: dict[str, Any]) -> tuple[str, ...]:
    """The request that an entry answers; for an entry that this version cannot read, its field in Redis."""
    request = entry["field"] if entry["request"] is None else json.dumps(entry["request"], ensure_ascii=False)
    return _or_dash(entry["method"]), request if len(request) <= _LONGEST else f"{request[: _LONGEST - 1]}…"


def table(rows: Sequence[Sequence[str]], indent: str = "") -> list[str]:
    """The rows as lines, each column as wide as its widest cell."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)] if rows else []
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [f"{indent}{line}".rstrip() for line in lines]


def _dependency(state: dict[str, Any]) -> str:
    since = f" for {_span(state['seconds'])}" if state["seconds"] is not None else ""
    reason = state["reason"]
    return (
        f"up{since}{', but: ' + reason if reason else ''}"
        if state["up"]
        else f"lost{since}" + (f": {reason}" if reason else "")
    )


def _service(each: dict[str, Any]) -> str:
    """The state of a service that has an upstream of its own."""
    if each["up"] is None:
        return f"{each['target']}, not connected: no call was sent to it lately"
    reason = each["reason"]
    return f"{each['target']}, {'up' + (', but: ' + reason if reason else '') if each['up'] else 'lost: ' + reason}"


def _whose(each: dict[str, Any]) -> str:
    return str(each["shown"])


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:.1f} %"


def ms(seconds: float | None) -> str:
    """A duration in milliseconds, as text; `-` for None."""
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"


def _span(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)
