"""What is wrong with a policy: `Place`, `Mistake`, and `PolicyError`, which holds every mistake of a file at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from proxy.errors import BadPolicyError

_LONGEST_SHOWN = 120


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in a file; line and column count from 1, columns in characters."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One mistake: where it is, and a text that says what was found there and what is accepted."""

    place: Place
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


class PolicyError(BadPolicyError):
    """A policy cannot be used; the text has a line for each mistake, in the order of the file."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes: Sequence[Mistake] = sorted(set(mistakes))
        super().__init__("\n".join(map(str, self.mistakes)))

    def __reduce__(self) -> tuple[type[Self], tuple[Sequence[Mistake]]]:
        """For pickling, which carries it to another process."""
        return type(self), (self.mistakes,)


def shown(text: str) -> str:
    """A text from a file as messages quote it: on one line, and cut if it is long."""
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…")


def not_understood(what: str, given: str, accepted: str) -> str:
    """The message for a value that is not understood."""
    return f"{what}: {shown(given)} is not understood; accepted: {accepted}"


def unknown(what: str, given: str, known: Iterable[str]) -> str:
    """The message for an unknown name, with the nearest known one."""
    from difflib import get_close_matches  # noqa: PLC0415 -- most processes report no mistakes

    names = list(known)
    nearest = get_close_matches(given, names, n=1)
    meant = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return f"unknown {what} {shown(given)}{meant}{';' if not meant else ''} accepted: {', '.join(names) or 'none'}"
