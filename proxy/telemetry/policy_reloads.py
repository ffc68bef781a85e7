"""What became of changes to the policy's file."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class PolicyReloads:
    """A changed file is taken up, or refused and the policy that counted before stays."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._changes = Counter(
            "media_cache_policy_reloads_total",
            "Changes of the policy's file: taken up, or refused for mistakes in it",
            ("outcome",),
            registry=registry,
        )
        self._refused = Gauge(
            "media_cache_policy_refused",
            "Whether the policy's file has mistakes as it is now (1), so that an older one counts",
            registry=registry,
        )
        for outcome in ("taken", "refused"):
            self._changes.labels(outcome)

    def taken(self) -> None:
        """The file counts as it is now."""
        self._changes.labels("taken").inc()
        self._refused.set(0)

    def refused(self) -> None:
        """It has mistakes."""
        self._changes.labels("refused").inc()
        self._refused.set(1)
