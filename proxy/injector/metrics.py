"""`WebhookMetrics`: the metrics of the webhook, all named in this file."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class WebhookMetrics:
    """A registry of its own, so that two webhooks in one process (a test) do not share numbers."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.admissions = Counter(
            "media_cache_injector_admissions_total",
            "Admission requests answered, by what was done with the pod and why.",
            ("result", "reason"),
            registry=self.registry,
        )
        self.admission_seconds = Histogram(
            "media_cache_injector_admission_duration_seconds",
            "Time from an admission request's headers to its answer.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.not_injected = Counter(
            "media_cache_injector_not_injected_total",
            "Pods created without a sidecar that was requested by the pod, one of its labels, or its namespace.",
            ("asked", "reason"),
            registry=self.registry,
        )
        self.demands_unknown = Counter(
            "media_cache_injector_namespace_rules_unknown_total",
            "Pods injected without knowing their namespace's LimitRanges and ResourceQuotas.",
            registry=self.registry,
        )
        self.certificate_expiry = Gauge(
            "media_cache_injector_certificate_expiry_timestamp_seconds",
            "When the certificate that is being served expires, in Unix time; 0 while none is served.",
            registry=self.registry,
        )
        self.certificate_life = Gauge(
            "media_cache_injector_certificate_life_seconds",
            "Total validity period of the certificate that is being served.",
            registry=self.registry,
        )
        self.certificate_checks = Counter(
            "media_cache_injector_certificate_checks_total",
            "Checks of certificate and caBundle, by outcome: ok, or failed (the old certificate is kept).",
            ("outcome",),
            registry=self.registry,
        )
        self.certificate_renewals = Counter(
            "media_cache_injector_certificate_renewals_total",
            "Certificates that this replica made and stored.",
            registry=self.registry,
        )

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)
