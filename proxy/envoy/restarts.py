"""`restarts`: the metric of Envoy's crashes. Its value outlives the process that exports it."""

from prometheus_client import CollectorRegistry, Counter


def restarts(registry: CollectorRegistry) -> Counter:
    """Creates the metric, once per registry; it begins at 0."""
    return Counter(
        "media_cache_envoy_restarts_total", "Number of times that Envoy crashed and was restarted", registry=registry
    )
