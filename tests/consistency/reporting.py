"""What a run reports: a summary, and the files that explain a violation."""

from collections.abc import Iterable
from pathlib import Path

from tests.consistency.checker import Checker
from tests.consistency.publisher import Publisher
from tests.consistency.schedule import Schedule
from tests.support.servers.process import ProxyProcess


def told(checker: Checker, publisher: Publisher, schedule: Schedule, begun: float) -> str:
    """The summary: what was done and what was found, a line each."""
    counts = checker.counts
    lines = [f"{name:<36} {counts[name]:>8}" for name in sorted(counts)]
    lines += [f"{'events sent':<36} {publisher.sent:>8}", f"{'events lost':<36} {publisher.lost:>8}"]
    lines += [f"{'faults':<36} {schedule.counts.total():>8}"]
    lines += [f"fault: {name:<29} {count:>8}" for name, count in sorted(schedule.counts.items())]
    found = checker.found
    if checker.first is not None:
        lines.append(f"the first after {checker.first - begun:.1f} s")
    lines += [f"found: {name:<60} {count:>8}" for name, count in sorted(found.items())]
    return "\n".join([*lines, f"{'violations':<36} {found.total():>8}", *checker.violations[:5]])


def kept(directory: Path, report: str, checker: Checker, schedule: Schedule, proxies: Iterable[ProxyProcess]) -> None:
    """Writes the report, the violations, the times of the faults and the proxies' logs into a directory, because the
    proxies' own directories are removed with them.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "report").write_text(report)
    (directory / "violations").write_text("\n\n".join(checker.violations))
    (directory / "faults").write_text("\n".join(schedule.times))
    for number, proxy in enumerate(proxies):
        (directory / f"proxy-{number}").write_text(proxy.stderr)
