"""proxy.calls.reads: how long answers live, as a policy says."""

import pytest

from proxy.calls.reads import Limits


@pytest.mark.parametrize(
    ("if_error", "while_revalidate", "longest"),
    [
        (None, None, 600.0),
        (5.0, None, 600.0),
        (900.0, None, 900.0),
        (None, 900.0, 900.0),
        (5.0, 7.0, 7.0),
        (0.0, 0.0, 0.0),
    ],
)
def test_the_longer_allowance_counts(if_error: float | None, while_revalidate: float | None, longest: float) -> None:
    limits = Limits(stale_if_error=if_error, stale_while_revalidate=while_revalidate)
    assert limits.longest_stale(600.0) == longest
