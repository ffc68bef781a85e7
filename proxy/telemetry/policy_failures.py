"""The metric of messages that the policy could not interpret."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter


def policy_failures(registry: CollectorRegistry, label: Callable[[str], str]) -> Callable[[str], None]:
    """A function that counts one message, given its method's path; `label` returns the label of a path."""
    counter = Counter(
        "media_cache_policy_failures_total",
        "Messages that the policy could not interpret: such a read is forwarded, after such a write everything is "
        "flushed",
        ("method",),
        registry=registry,
    )
    return lambda path: counter.labels(label(path)).inc()
