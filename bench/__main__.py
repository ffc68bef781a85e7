"""`make bench`: measures, writes `bench/results/`, and puts tables and pictures into docs/performance.md.

    python -m bench                    everything, about 8 minutes
    python -m bench claims sides       only these; the others keep their results

Exit status 1 if a target is missed.
"""

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

from bench import machine, tables
from bench.sections import SECTIONS, Outcome
from bench.targets import Target

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
DOCUMENT = ROOT / "docs" / "performance.md"
README = ROOT / "README.md"


def _write(name: str, outcome: Outcome, where: dict[str, str]) -> None:
    figures = {
        "machine": where,
        "targets": [asdict(target) for target in outcome.targets],
        "figures": outcome.figures,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n")
    for marker, text in outcome.tables.items():
        tables.put(DOCUMENT, marker, text)
    for marker, text in outcome.readme.items():
        tables.put(README, marker, text)
    for file, draw in outcome.pictures.items():
        draw(RESULTS / file)
    tables.put(DOCUMENT, f"{name}-machine", tables.machine(where))


def _targets() -> list[Target]:
    """The targets of all sections that have results."""
    files = [RESULTS / f"{name}.json" for name in SECTIONS]
    return [Target(**each) for file in files if file.exists() for each in json.loads(file.read_text())["targets"]]


def main() -> int:
    """Runs the sections and prints their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}")
    chosen = parser.parse_args().sections or list(SECTIONS)
    if unknown := set(chosen) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(unknown)}; accepted: {', '.join(SECTIONS)}")
    for name in chosen:
        print(f"{name}: {SECTIONS[name].__doc__}", file=sys.stderr)
        where = machine.described()
        outcome = asyncio.run(SECTIONS[name]())
        _write(name, outcome, where)
        print(*outcome.tables.values(), sep="\n\n", end="\n\n")
    found = _targets()
    tables.put(DOCUMENT, "targets", tables.targets(found))
    print(tables.targets(found))
    return 0 if all(target.met for target in found) else 1


if __name__ == "__main__":
    sys.exit(main())
