"""`Version`: Kubernetes versions, as the API server and people write them."""

import re

Version = tuple[int, int]

NEWEST: Version = (1, 37)
"""The newest version that the tests use, and the default of `inject`."""


def parse_version(text: str) -> Version:
    """`v1.33.2-gke.1` and `1.33` give (1, 33); raises ValueError for anything else."""
    match = re.match(r"v?(\d+)\.(\d+)(?=[.+-]|\Z)", text)
    if not match:
        raise ValueError(f"{text!r} is not a Kubernetes version; accepted: like 1.33 or v1.33.2")
    return int(match[1]), int(match[2])
