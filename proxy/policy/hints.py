"""Says what is accepted for those of CEL's complaints whose own text does not help people."""

import re

_HINTS = (
    (
        re.compile(r"^found no matching overload"),
        "values of the types that it takes: string(…) converts a number to a string",
    ),
    (
        re.compile(r"type 'wrapper\(\w+\)' cannot be the operand of a select"),
        "the wrapper itself, which is read as its value, without .value",
    ),
)


def hint(complaint: str) -> str:
    """What is accepted instead; empty if there is no hint for this complaint."""
    return next((accepted for pattern, accepted in _HINTS if pattern.search(complaint)), "")
