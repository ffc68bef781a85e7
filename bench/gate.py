"""The benchmark in its shortest form, for CI: what a hit costs against the bare echo, in under a minute.

    python -m bench.gate

Many short runs in turns. Whatever else the machine does makes both dearer, so the ratio is taken of neighbours, and the
median of these ratios moves by some hundredths even where the runs themselves differ by half (measured at load 10).
Exit status 1 above `MOST`.
"""

import asyncio
import statistics
import sys

from bench import subjects
from bench.stack import Stack
from bench.subjects import ECHO, Subject

MOST = 1.5
_ROUNDS, _CALLERS, _CALLS = 60, 8, 300


async def ratios(subject: Subject) -> list[float]:
    """CPU of a call over the echo's, round by round; the answers are checked first."""
    echo = next(each for each in subjects.ALL if each.name == ECHO)
    found = []
    async with Stack() as stack:
        await stack.start(echo.server, subject.server)
        await subjects.check(stack)
        for number in range(-2, _ROUNDS):  # two to warm up
            pair = (echo, subject) if number % 2 else (subject, echo)
            spent = {each.name: (await each.run(stack, _CALLERS, _CALLS)).cpu_us for each in pair}
            if number >= 0:
                found.append(spent[subject.name] / spent[echo.name])
    return found


async def hit() -> float:
    """Of a hit of the grpc.aio transport."""
    subject = next(each for each in subjects.of_transport("grpcio") if each.name.endswith(", hit"))
    return statistics.median(await ratios(subject))


def main() -> int:
    """Prints the ratio and its bound."""
    ratio = asyncio.run(hit())
    print(f"a hit costs {ratio:.2f} x the CPU of the bare grpc.aio echo; at most {MOST}")
    return 0 if ratio <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
