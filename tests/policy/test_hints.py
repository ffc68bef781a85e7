"""proxy.policy.hints: says what is accepted instead of what CEL complains about."""

import pytest

from proxy.policy.hints import hint


@pytest.mark.parametrize(
    ("complaint", "accepted"),
    [
        ("found no matching overload for '_+_' applied to '(string, int)'", "string(…) converts a number to a string"),
        ("expression of type 'wrapper(int)' cannot be the operand of a select operation", "without .value"),
        ("something else", ""),
    ],
)
def test_it_tells_what_is_meant(complaint: str, accepted: str) -> None:
    assert accepted in hint(complaint)
    assert bool(hint(complaint)) is bool(accepted)
