"""How often the policy could not tell what a message means, by method."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter


def policy_failures(registry: CollectorRegistry, label: Callable[[str], str]) -> Callable[[str], None]:
    """A counter of one more, by a method's path; `label` is what the method is called."""
    counter = Counter(
        "media_cache_policy_failures_total",
        "Messages that the policy cannot interpret: a read is forwarded; after a write, its service's answers are flushed",
        ("method",),
        registry=registry,
    )
    return lambda path: counter.labels(label(path)).inc()
