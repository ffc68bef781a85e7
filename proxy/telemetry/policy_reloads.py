"""`PolicyReloads`: the metrics of changes to the policy file, and its mistake."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class PolicyReloads:
    """A changed file takes effect, or it is refused and the previous policy stays in effect."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._changes = Counter(
            "media_cache_policy_reloads_total",
            "Changes of the policy file, by outcome: taken into effect, or refused because of mistakes",
            ("outcome",),
            registry=registry,
        )
        self._refused = Gauge(
            "media_cache_policy_refused",
            "Whether the policy file has mistakes now (1), so that the previous policy stays in effect, or not (0)",
            registry=registry,
        )
        for outcome in ("taken", "refused"):
            self._changes.labels(outcome)

        self.mistake = ""
        """The first mistake in the file as it is now; "" if it has none."""

    def taken(self) -> None:
        """Records that a change took effect."""
        self.mistake = ""
        self._changes.labels("taken").inc()
        self._refused.set(0)

    def refused(self, mistake: str) -> None:
        """Records that a change was refused; `mistake` is the first mistake in the file."""
        self.mistake = mistake
        self._changes.labels("refused").inc()
        self._refused.set(1)
