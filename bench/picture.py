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
    """Unary calls: CPU of a call at 8 callers, and what one caller waits; `limit` is the runtime's own row."""
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


def _bars(axes: Axes, rows: list[Row], limit: str, values: Mapping[str, float]) -> None:
    names = [row.name for row in reversed(rows)]
    colours = [_LIMIT if name == limit else _PROXY if name.startswith("proxy") else _OTHER for name in names]
    bars = axes.barh(names, [values[name] for name in names], color=colours)
    axes.bar_label(bars, [f" {values[name]:,.0f}" for name in names])
    axes.axvline(values[limit], color=_LIMIT, linewidth=1, linestyle=":")
    axes.margins(x=0.16)
    axes.tick_params(length=0)
