"""What became of changes to the policy's file."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class PolicyReloads:
    """A changed file is taken up, or refused and the policy that counted before stays."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._changes = Counter(
            "media_cache_policy_reloads_total",
            "Changes of the policy's file: applied, or refused because of mistakes",
            ("outcome",),
            registry=registry,
        )
        self._refused = Gauge(
            "media_cache_policy_refused",
            "Whether the policy's file has mistakes now (1), so that the previous policy stays in effect, or not (0)",
            registry=registry,
        )
        for outcome in ("taken", "refused"):
            self._changes.labels(outcome)

        self.mistake = ""
        """Why the file cannot be used as it is now: its first mistake; empty: it can."""

    def taken(self) -> None:
        """The file is in effect as it is now."""
        self.mistake = ""
        self._changes.labels("taken").inc()
        self._refused.set(0)

    def refused(self, mistake: str) -> None:
        """It has mistakes; `mistake` is the first."""
        self.mistake = mistake
        self._changes.labels("refused").inc()
        self._refused.set(1)
