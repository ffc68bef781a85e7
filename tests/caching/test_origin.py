"""proxy.caching.origin: whether and how long the origin lets its answer be stored."""

import pytest

from proxy.caching.origin import longest_ttl
from proxy.calls.call import Metadata, Reply


@pytest.mark.parametrize(
    ("metadata", "longest"),
    [
        ((), None),
        ((("cache-control", "public"),), None),
        ((("cache-control", "no-store"),), 0.0),
        ((("cache-control", "max-age=60, PRIVATE"),), 0.0),
        ((("cache-control", 'no-cache="x"'),), 0.0),
        ((("cache-control", "max-age=60"),), 60.0),
        ((("cache-control", 'Max-Age = "60"'),), 60.0),
        ((("cache-control", "s-maxage=5, max-age=60"),), 5.0),
        ((("cache-control", "max-age=5, s-maxage=60"),), 60.0),
        ((("cache-control", "max-age=0"),), 0.0),
        ((("cache-control", "max-age=-1"),), None),
        ((("cache-control", "max-age=soon"),), None),
        ((("cache-control-bin", b"no-store"), ("x", "no-store")), None),
    ],
)
def test_it_shortens_and_forbids_in_initial_or_trailing_metadata(metadata: Metadata, longest: float | None) -> None:
    assert longest_ttl(Reply(b"", initial_metadata=metadata)) == longest
    assert longest_ttl(Reply(b"", trailing_metadata=metadata)) == longest
