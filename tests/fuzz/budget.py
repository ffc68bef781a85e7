"""The number of examples of a property, and common strategies for them.

In `make test` and CI the number is fixed, and so are the examples. With `FUZZ_TIMES=n` (set by `run.py`) there are n
times as many, and new ones, drawn from the seed in `--hypothesis-seed`.
"""

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

TIMES = "FUZZ_TIMES"
"""The environment variable; if it is not set, the examples are fixed."""


def budget(examples: int = 400, **more: Any) -> settings:
    """A decorator for a property; a slow machine fails none."""
    times = int(os.environ.get(TIMES, "0"))
    return settings(
        max_examples=examples * max(1, times),
        derandomize=not times,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        **more,
    )


@st.composite
def damaged(draw: st.DrawFn, whole: bytes, most: int = 4) -> bytes:
    """These bytes with one to `most` places changed, cut, doubled or filled; now and then unchanged."""
    found = whole
    for _ in range(draw(st.integers(1, most))):
        low, high = sorted((draw(st.integers(0, len(found))), draw(st.integers(0, len(found)))))
        match draw(st.sampled_from(["flip", "fill", "cut", "end", "double", "write"])):
            case "flip" if low < len(found):
                found = found[:low] + bytes([found[low] ^ 1 << draw(st.integers(0, 7))]) + found[low + 1 :]
            case "fill":
                found = found[:low] + draw(st.binary(min_size=1, max_size=8)) + found[low:]
            case "cut":
                found = found[:low] + found[high:]
            case "end":
                found = found[:low]
            case "double":
                found = found[:high] + found[low:]
            case _:
                filling = draw(st.binary(min_size=1, max_size=8))
                found = found[:low] + filling + found[low + len(filling) :]
    return found


_HOSTILE: list[Any] = [
    *("", "é", "{", "null", "1e3", "-5", "0x1", "user", "\ud800", "9" * 30, "a" * 2000),
    *(
        2**63,
        -(2**63) - 1,
        10**19 - 1,
        10**40,
        2**53 + 1,
        1.5,
        1e300,
        float("nan"),
        True,
        None,
        [],
        {},
        [[]],
        {"a": {}},
    ),
]
json_values: st.SearchStrategy[Any] = st.sampled_from(_HOSTILE) | st.recursive(
    st.sampled_from(_HOSTILE) | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
"""Everything that `json.dumps` accepts, including lone surrogates, NaN and absurd numbers."""
int64s = st.integers(-(2**63), 2**63 - 1)
