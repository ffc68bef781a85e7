"""`Refused`: why a pod cannot be injected, as one line for a person and a short reason for metrics."""

from difflib import get_close_matches

from proxy.injector.names import PREFIX


class Refused(Exception):  # noqa: N818 -- a verdict on the pod, not a fault of the program
    """A pod cannot be injected. `message` is `what: what is wrong; what to do`; `reason` is from a small fixed set."""

    def __init__(self, reason: str, what: str, problem: str) -> None:
        super().__init__(f"{what}: {problem}")
        self.reason = reason
        self.message = f"{what}: {problem}"


def annotation(name: str) -> str:
    """An annotation's full name, as in messages and pods."""
    return PREFIX + name


def nearest(word: str, known: list[str]) -> str:
    """`did you mean x?` with the known word closest to a mistyped one; if none is close, `known:` with all of them."""
    close = get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
