"""What is accepted in the place of what CEL complains of, where its own sentence does not tell people."""

import re

_HINTS = (
    (
        re.compile(r"^found no matching overload"),
        "values of the types that it takes: string(…) makes a string of a number",
    ),
    (
        re.compile(r"type 'wrapper\(\w+\)' cannot be the operand of a select"),
        "the value itself, as a wrapper is read: without .value",
    ),
)


def hint(complaint: str) -> str:
    """Empty: there is none."""
    return next((accepted for pattern, accepted in _HINTS if pattern.search(complaint)), "")
