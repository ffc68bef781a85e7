"""`UpstreamAnswers`: a `Failing` for each service, since one that fails must not hide behind others that do not."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Gauge

from proxy.telemetry.failing import Failing
from proxy.telemetry.method_labels import OTHER

_DEFAULT = "the service at MEDIA_SERVICE_ADDR"


class UpstreamAnswers:
    """Services by their full names; what the policy does not name counts as one, `other`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connected: Callable[[str], bool] = lambda _: True
        """By a service's full name. While it is not, that is said elsewhere, and failures are no news."""
        self._gauge = Gauge(
            "media_cache_upstream_failing",
            "Whether a service is connected but answers with failures (1), or not (0)",
            ("service",),
            registry=registry,
        )
        self._services = {OTHER: self._begun(OTHER, _DEFAULT)}

    def serves(self, called: Mapping[str, str]) -> None:
        """These are the services of the policy now, each with what sentences call it; what was known of one stays."""
        for gone in self._services.keys() - called.keys() - {OTHER}:
            self._gauge.remove(gone)
        kept = {OTHER: self._services[OTHER]}
        for name, text in called.items():
            kept[name] = self._services.get(name) or self._begun(name, text)
        self._services = kept

    def of(self, method: str) -> Failing:
        """Of the service of a method, as it is on the wire: `/shop.Products/Get`."""
        return self.of_service(method[1 : method.rfind("/")])

    def of_service(self, name: str) -> Failing:
        """By its full name."""
        return self._services.get(name) or self._services[OTHER]

    def _begun(self, name: str, called: str) -> Failing:
        gauge = self._gauge.labels(name)
        failing = Failing(gauge.set, called=called)
        failing.connected = lambda: self.connected(name)
        return failing
