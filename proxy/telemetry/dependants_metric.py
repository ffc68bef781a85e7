"""The metric of answers that were not stored because too many tags depend on each other."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter


def crowded(registry: CollectorRegistry, label: Callable[[str], str]) -> Callable[[str, str], None]:
    """A function that counts one answer, given its method's path and the limit (`answer` or `tag`); `label` returns
    the label of a path.
    """
    counter = Counter(
        "media_cache_further_tags_refused_total",
        "Answers that were not stored because they have more than 64 further tags (limit answer), or because one of "
        "these tags has 10,000 dependants already (limit tag)",
        ("method", "limit"),
        registry=registry,
    )
    return lambda path, limit: counter.labels(label(path), limit).inc()
