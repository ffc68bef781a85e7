"""Turns figures into Markdown, and puts it into documents between markers, so that no figure is typed by hand.

A marker is a pair of lines, `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`; the text between them is replaced.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench import owners
from bench import profile as profiled
from bench.growth import Point, Stampede
from bench.side_by_side import Row
from bench.stack import Server
from bench.start import Parts, Starts, median
from bench.targets import Target


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column is aligned left, the others right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cost(rows: Mapping[str, Row], echo: str) -> str:
    """CPU per call and calls per second, by callers."""
    levels = list(next(iter(rows.values())).samples)
    head = ["CPU per call, µs", *map(_callers, levels), "times the echo, 8 callers", "calls/s at 8", "at 64"]
    shown = []
    for row in rows.values():
        cpu = [f"{row.median(level, lambda sample: sample.cpu_us):.0f}" for level in levels]
        share = f"{row.ratio(rows[echo], 8, lambda sample: sample.cpu_us):.2f}" if row.unary else ""
        rates = [f"{row.median(level, lambda sample: sample.rate):.0f}" for level in (8, 64)]
        shown.append([row.name, *cpu, share, *rates])
    return table(head, shown)


def latency(rows: Mapping[str, Row]) -> str:
    """p50 and p99, by callers."""
    levels = list(next(iter(rows.values())).samples)
    head = ["p50 / p99, ms", *map(_callers, levels)]
    return table(head, ([row.name, *(_p50_p99(row, level) for level in levels)] for row in rows.values()))


def servers(found: Mapping[str, Server], resident: Mapping[str, tuple[float, float]]) -> str:
    """Start time, and memory after the start and after the run."""
    head = ["process", "MB after start", "MB after the run", "start, s"]
    rows = ([name, *(f"{mb:.0f}" for mb in resident[name]), f"{found[name].started_in:.2f}"] for name in found)
    return table(head, rows)


def targets(found: Iterable[Target]) -> str:
    """The targets, each with its verdict."""
    head = ["target", "measured", "bound", "verdict"]
    return table(
        head,
        (
            [
                each.what,
                _figure(each.value, each.unit),
                "" if each.bound is None else f"{'≥' if each.at_least else '≤'} {_figure(each.bound, each.unit)}",
                each.verdict,
            ]
            for each in found
        ),
    )


def growth(points: Iterable[Point]) -> str:
    """CPU of a hit, by what grows."""
    head = ["what grows", "to", "proxy, µs per hit", "Redis, µs per hit", "hits/s"]
    rows = (
        [each.what, f"{each.value:g}", f"{each.cpu_us:.0f}", f"{each.redis_us:.0f}", f"{each.rate:.0f}"]
        for each in points
    )
    return table(head, rows)


def stampedes(found: Iterable[Stampede]) -> str:
    """Concurrent reads of a model that is not cached, through several proxies."""
    rows = ([str(each.proxies), str(each.reads), str(each.upstream_calls)] for each in found)
    return table(["proxies", "concurrent reads", "upstream calls"], rows)


def pods(redis_us: float) -> str:
    """The load that one Redis can carry, from its CPU per hit: it executes commands on one core."""
    most = 1e6 / redis_us
    rows = ([f"{count:,}", f"{most / count:,.0f}", f"{0.5 * most / count:,.0f}"] for count in (10, 100, 1000))
    return table(["pods on one Redis", "hits/s per pod with Redis' core at 100 %", "at 50 %"], rows)


def profile(found: Mapping[str, Mapping[str, float]]) -> str:
    """CPU per call in µs by owner, the largest first; the proxy's files that take little are summed up."""
    shown = {kind: folded(each) for kind, each in found.items()}
    places = {place for each in shown.values() for place in each}
    order = sorted(places, key=lambda place: -max(each.get(place, 0.0) for each in shown.values()))
    rows = [[place, *(f"{each[place]:.1f}" if place in each else "" for each in shown.values())] for place in order]
    rows.append(["total", *(f"{sum(each.values()):.0f}" for each in found.values())])
    return table(["CPU per call in µs, 8 callers", *found], rows)


def folded(each: Mapping[str, float]) -> dict[str, float]:
    """Owners that take less than 0.5 % of a call are summed up."""
    least = sum(each.values()) / 200
    kept: dict[str, float] = {}
    for place, micros in each.items():
        ours = f"{owners.OURS}other files" if place.startswith(owners.OURS) else owners.ELSE
        name = place if micros >= least else ours
        kept[name] = kept.get(name, 0.0) + micros
    return kept


def left(found: Mapping[str, Mapping[str, float]]) -> str:
    """Each kind of call beside the minimal server for it, with the part of the proxy's own files."""
    pairs = ((profiled.HIT, profiled.SHAPE), (profiled.PASSED, profiled.FORWARDING))
    lines = [_left(name, found[name], least, found[least], found[profiled.ECHO]) for name, least in pairs]
    inside = found[profiled.IN_ENVOY]
    lines.append(
        f"* A {profiled.IN_ENVOY} takes {sum(inside.values()):.0f} µs, {_ours(inside):.0f} of them in the proxy's own "
        f"files and {inside.get(owners.ENVOY, 0.0) + inside.get('pyvoy', 0.0):.0f} in Envoy and pyvoy."
    )
    return "\n".join(lines)


def _left(name: str, mine: Mapping[str, float], least: str, its: Mapping[str, float], echo: Mapping[str, float]) -> str:
    whole, floor, of_echo = (sum(each.values()) for each in (mine, its, echo))
    return (
        f"* A {name} takes {whole:.0f} µs, {_ours(mine):.0f} of them in the proxy's own files. The {least} takes "
        f"{floor:.0f}, {floor / of_echo:.2f} x the bare echo's {of_echo:.0f}: grpc.aio, the event loop and the kernel "
        "take that much in any proxy."
    )


def _ours(each: Mapping[str, float]) -> float:
    return sum(micros for place, micros in each.items() if place.startswith(owners.OURS))


def telemetry(found: Mapping[str, tuple[float, float]]) -> str:
    """CPU of a hit in µs, and relative to the same hit without any telemetry."""
    rows = ([name, f"{micros:.0f}", f"{share:.2f}"] for name, (micros, share) in found.items())
    return table(["telemetry", "µs per hit", "relative to none"], rows)


def claims(found: Iterable[Target]) -> str:
    """The claims and their figures."""
    return table(["", ""], ([each.what, _figure(each.value, each.unit)] for each in found))


def starts(found: Starts) -> str:
    """Medians by transport."""
    head = ["transport", "port open, s", "ready, s", "CPU until ready, s"]
    rows = ([name, *(f"{median(runs, what):.2f}" for what in ("open", "ready", "cpu"))] for name, runs in found.items())
    return table(head, rows)


def policies(rows: Iterable[list[str]]) -> str:
    """What each policy adds to a start without a policy."""
    return table(["transport: policy", "CPU, ms more", "port open, ms later", "MB more"], rows)


def memory(found: Starts) -> str:
    """Medians by transport and process."""
    rows = []
    for name, runs in found.items():
        own = [sorted(each)[len(runs) // 2] for each in zip(*(run.private for run in runs), strict=True)]
        names = ["serve"] if len(own) == 1 else ["serve", "Envoy and the interpreter inside"]
        whole = median(runs, "resident")
        rows += [[f"{name}: {process}", f"{mb:.1f}"] for process, mb in zip(names, own, strict=True)]
        rows += [[f"{name}: files, such as programs and libraries", f"{whole - sum(own):.1f}"]]
        rows += [[f"{name}: total", f"{whole:.1f}"]]
    return table(["resident after the start", "MB"], rows)


def parts(found: Parts) -> str:
    """What each part takes to load, the largest first."""
    rows = ([name, f"{ms:.0f}", f"{mb:.1f}"] for name, (ms, mb) in found.items())
    return table(["loaded by `serve`", "CPU, ms", "MB"], rows)


def redis_side(found: Mapping[str, float]) -> str:
    """Redis' own CPU for one HGET, by the way the command is sent."""
    return table(["HGET of a stored answer", "Redis, µs"], ([name, f"{us:.1f}"] for name, us in found.items()))


def machine(found: Mapping[str, str]) -> str:
    """The machine and the versions of the measurement."""
    return "Measured on: " + "; ".join(f"{name} {text}" for name, text in found.items()) + "."


def put(document: Path, name: str, text: str) -> None:
    """Replaces the text between a document's markers; ValueError if they are missing."""
    before = document.read_text()
    start, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    after, found = pattern.subn(lambda _: f"{start}\n{text}\n{end}", before)
    if not found:
        raise ValueError(f"{document}: has no {start} … {end}")
    document.write_text(after)


def _callers(count: int) -> str:
    return "1 caller" if count == 1 else f"{count} callers"


def _p50_p99(row: Row, level: int) -> str:
    p50, p99 = (row.median(level, figure) / 1000 for figure in (lambda one: one.p50_us, lambda one: one.p99_us))
    return f"{p50:.3g} / {p99:.3g}"


def _figure(value: float, unit: str) -> str:
    number = f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
    return f"{number} {unit}".strip()
