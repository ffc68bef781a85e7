"""The pictures, as SVG."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from bench.side_by_side import Row

_STYLE = Path(__file__).parent / "style.mplstyle"
_PROXY, _OTHER, _LIMIT = "#2a6fb0", "#b9c2cc", "#4c9a6a"


def side_by_side(rows: Mapping[str, Row], limit: str, path: Path) -> None:
    """Unary calls: CPU per call with 8 callers, and the latency of one caller; `limit` is the runtime's own row."""
    shown = [row for row in rows.values() if row.unary]
    with mpl.rc_context(fname=_STYLE):
        figure, (cpu, wait) = plt.subplots(1, 2, figsize=(11, 0.36 * len(shown) + 1.2), sharey=True)
        _bars(cpu, shown, limit, {row.name: row.median(8, lambda one: one.cpu_us) for row in shown})
        cpu.set_title("CPU of a call, µs (8 callers)", loc="left")
        _bars(wait, shown, limit, {row.name: row.median(1, lambda one: one.p50_us) for row in shown})
        wait.set_title("median wait of one caller, µs (logarithmic)", loc="left")
        wait.set_xscale("log")
        figure.tight_layout()
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def profile(found: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """CPU per call by owner, with one bar per kind of call."""
    places = list(dict.fromkeys(place for each in found.values() for place in each))
    with mpl.rc_context(fname=_STYLE):
        figure, axes = plt.subplots(figsize=(11, 7))
        left = dict.fromkeys(found, 0.0)
        for number, place in enumerate(places):
            micros = [found[kind].get(place, 0.0) for kind in found]
            colour = plt.get_cmap("tab20")(number % 20)
            axes.barh(list(found), micros, left=list(left.values()), color=colour, label=place, height=0.6)
            left = {kind: start + share for (kind, start), share in zip(left.items(), micros, strict=True)}
        axes.set_xlabel("µs of CPU a call, 8 callers")
        axes.invert_yaxis()
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, frameon=False)
        figure.tight_layout()
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def _bars(axes: Axes, rows: list[Row], limit: str, values: Mapping[str, float]) -> None:
    names = [row.name for row in reversed(rows)]
    colours = [_LIMIT if name == limit else _PROXY if name.startswith("proxy") else _OTHER for name in names]
    bars = axes.barh(names, [values[name] for name in names], color=colours)
    axes.bar_label(bars, [f" {values[name]:,.0f}" for name in names])
    axes.axvline(values[limit], color=_LIMIT, linewidth=1, linestyle=":")
    axes.margins(x=0.16)
    axes.tick_params(length=0)
