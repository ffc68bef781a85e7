"""How often the policy could not tell what a message means, by method."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter

_OTHER = "other"


def policy_failures(registry: CollectorRegistry, labels: Mapping[str, str]) -> Callable[[str], None]:
    """A counter of one more, by a method's path; `labels` are those of the methods that have one of their own."""
    counter = Counter(
        "media_cache_policy_failures_total",
        "Messages that the policy cannot make sense of: a read is forwarded, after a write everything is flushed",
        ("method",),
        registry=registry,
    )
    return lambda path: counter.labels(labels.get(path, _OTHER)).inc()
