"""`UpstreamAnswers`: one `Failing` for each service, so that good answers of others do not hide a failing service."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Gauge

from proxy.telemetry.failing import Failing
from proxy.telemetry.method_labels import OTHER

_DEFAULT = "the service at MEDIA_SERVICE_ADDR"


class UpstreamAnswers:
    """Services have their full names; those that the policy does not name count as one service, `other`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connected: Callable[[str], bool] = lambda _: True
        """Whether the service with this full name is connected. If not, its failures are not reported here."""
        self._gauge = Gauge(
            "media_cache_upstream_failing",
            "Whether a service is connected but answers with failures (1), or not (0)",
            ("service",),
            registry=registry,
        )
        self._services = {OTHER: self._begun(OTHER, _DEFAULT)}

    def serves(self, called: Mapping[str, str]) -> None:
        """Sets the services of the policy: `called` has for each full name what log lines call the service. Services
        that stay keep their state.
        """
        for gone in self._services.keys() - called.keys() - {OTHER}:
            self._gauge.remove(gone)
        kept = {OTHER: self._services[OTHER]}
        for name, text in called.items():
            kept[name] = self._services.get(name) or self._begun(name, text)
        self._services = kept

    def of(self, method: str) -> Failing:
        """The `Failing` of a method's service; `method` is a path, `/shop.Products/Get`."""
        return self.of_service(method[1 : method.rfind("/")])

    def of_service(self, name: str) -> Failing:
        """The `Failing` of the service with this full name."""
        return self._services.get(name) or self._services[OTHER]

    def _begun(self, name: str, called: str) -> Failing:
        gauge = self._gauge.labels(name)
        failing = Failing(gauge.set, called=called)
        failing.connected = lambda: self.connected(name)
        return failing
