"""How many answers were not stored because too many tags depend on each other, by method."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter


def crowded(registry: CollectorRegistry, label: Callable[[str], str]) -> Callable[[str, str], None]:
    """A counter of one more, by a method's path and the limit; `label` is what the method is called."""
    counter = Counter(
        "media_cache_further_tags_refused_total",
        "Answers that were not stored: they have more than 64 further tags (answer), or one of these tags has 10,000 "
        "dependants (tag)",
        ("method", "limit"),
        registry=registry,
    )
    return lambda path, limit: counter.labels(label(path), limit).inc()
