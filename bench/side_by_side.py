"""Side by side: all subjects run alternately, round after round, so that other load on the machine affects all alike.

A figure is the median over the rounds. A ratio is the median of each round's ratio, of two runs within seconds of each
other, so it is stable on a machine on which the figures themselves vary.
"""

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from bench.load import Sample
from bench.stack import Stack
from bench.subjects import Subject

CALLERS = (1, 8, 64)
_WINDOW = 0.4
"""Approximate duration of one run, in seconds."""
_FEWEST, _MOST = 8, 4000
_WARMING = 200


@dataclass(frozen=True, slots=True)
class Row:
    """One subject: its samples by number of callers, round by round."""

    name: str
    server: str
    unary: bool
    samples: dict[int, list[Sample]] = field(default_factory=dict)

    def median(self, callers: int, figure: Callable[[Sample], float]) -> float:
        return statistics.median(map(figure, self.samples[callers]))

    def ratio(self, other: "Row", callers: int, figure: Callable[[Sample], float]) -> float:
        """The ratio of a figure to the other row's."""
        pairs = zip(self.samples[callers], other.samples[callers], strict=True)
        return statistics.median(figure(mine) / figure(theirs) for mine, theirs in pairs)

    def shown(self) -> dict[str, object]:
        """As JSON."""
        return {
            "name": self.name,
            "server": self.server,
            "callers": {
                str(callers): {name: _spread(samples, name) for name in asdict(samples[0])}
                for callers, samples in self.samples.items()
            },
        }


async def compare(
    stack: Stack, subjects: Sequence[Subject], *, rounds: int, levels: Sequence[int] = CALLERS, window: float = _WINDOW
) -> dict[str, Row]:
    """Measures the subjects; returns rows by name."""
    rows = {subject.name: Row(subject.name, subject.server, subject.unary) for subject in subjects}
    for callers in levels:
        calls = {subject.name: await _calls(stack, subject, callers, window) for subject in subjects}
        for number in range(rounds):
            print(f"{callers} callers, round {number + 1} of {rounds} ...", file=sys.stderr)
            for subject in subjects if number % 2 else reversed(subjects):
                sample = await subject.run(stack, callers, calls[subject.name])
                rows[subject.name].samples.setdefault(callers, []).append(sample)
    return rows


async def _calls(stack: Stack, subject: Subject, callers: int, window: float) -> int:
    """Returns how many calls take about `window`; making them also warms the server up."""
    few = max(callers, _FEWEST if subject.slowest or not subject.unary else _WARMING)
    rate = (await subject.run(stack, callers, few)).rate
    return max(callers, min(_MOST, max(_FEWEST, int(rate * window))))


def _spread(samples: list[Sample], name: str) -> dict[str, float]:
    values = [getattr(sample, name) for sample in samples]
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return {"median": round(middle, 1), "lower quartile": round(low, 1), "upper quartile": round(high, 1)}
