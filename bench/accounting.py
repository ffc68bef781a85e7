"""The kernel's account of a process and all its children: CPU time and memory. The process itself is not involved.

CPU is user + system time in nanoseconds, including threads that have ended (`clock_getcpuclockid(3)`; /proc/<pid>/stat
has the same account in ticks of 10 ms).
"""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_CPUCLOCK_SCHED = 2  # linux/posix-timers.h: the clock id of another process is (~pid << 3) | 2


@dataclass(frozen=True, slots=True)
class Tree:
    """A process with its descendants: a proxy may be several processes."""

    pid: int

    def cpu(self) -> float:
        """CPU time used so far, in seconds."""
        return sum(time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED) for pid in self.pids())

    def resident(self) -> float:
        """Resident MB now: each process' private memory, plus the file pages once, because the processes share them (a
        parent and a child run the same Python); the process with the most file pages counts.
        """
        pids = self.pids()
        own = sum(_status(pid, "RssAnon") + _status(pid, "RssShmem") for pid in pids)
        return own + max(_status(pid, "RssFile") for pid in pids)

    def private(self) -> list[float]:
        """Private memory of each process in MB, a parent before its children."""
        return [_status(pid, "RssAnon") + _status(pid, "RssShmem") for pid in self.pids()]

    def peak(self) -> float:
        """Peak memory so far in MB; for several processes, the sum of their peaks."""
        return sum(_status(pid, "VmHWM") for pid in self.pids())

    def pids(self) -> list[int]:
        """The process and its descendants, a parent before its children."""
        found = [self.pid]
        for pid in found:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, children.read_text().split())
        return found


def threads(pid: int) -> dict[int, int]:
    """CPU time of each thread of a process so far, in nanoseconds by thread id."""
    found = {}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # it has ended
            found[int(thread.name)] = int((thread / "schedstat").read_text().split()[0])
    return found


def _status(pid: int, field: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field)) / 1024
