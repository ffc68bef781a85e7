"""`MethodLabels`: the names of methods in metrics. Methods that the policy does not name share one label, so that
callers cannot create series."""

from collections.abc import Iterable, Mapping

from proxy.telemetry.span_names import UNKNOWN_METHOD

OTHER = "other"
"""The label `method` of methods that the policy does not name. Their label `rpc_method` is `_OTHER`, as in
OpenTelemetry's semantic conventions."""


class MethodLabels:
    """Paths are as on the wire, `/shop.Products/Get`. Methods that were added stay, as their series do."""

    def __init__(self) -> None:
        self.by_path: dict[str, str] = {}
        """Path -> label `method`."""
        self.cached: set[str] = set()
        """The paths of methods whose answers are stored."""
        self._paths: dict[str, str] = {}

    def add(self, labels: Mapping[str, str], cached: Iterable[str]) -> None:
        """Adds methods: `labels` has their labels `method` by path, and `cached` the paths whose answers are stored."""
        self.by_path.update(labels)
        self.cached.update(cached)
        self._paths.update({label: path for path, label in labels.items()})

    def of(self, path: str) -> str:
        """The label `method` of a path."""
        return self.by_path.get(path, OTHER)

    def rpc(self, path: str) -> str:
        """The label `rpc_method` of a path."""
        return path[1:] if path in self.by_path else UNKNOWN_METHOD

    def of_rpc(self, rpc_method: str) -> str:
        """The label `method` that belongs to a label `rpc_method`."""
        return self.by_path.get(f"/{rpc_method}", OTHER)

    def path(self, label: str) -> str:
        """The path of the method with this label `method`; "" if there is none."""
        return self._paths.get(label, "")
