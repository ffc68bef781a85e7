"""`MethodLabels`: what methods are called in metrics: those of the policy, and one word for what callers make up."""

from collections.abc import Iterable, Mapping

from proxy.telemetry.span_names import UNKNOWN_METHOD

OTHER = "other"
"""The label `method` of what the policy does not name; `rpc_method` is `_OTHER`, as in the conventions."""


class MethodLabels:
    """Methods are paths, as on the wire. What was added stays: its series are there until the process ends."""

    def __init__(self) -> None:
        self.by_path: dict[str, str] = {}
        """The labels `method`."""
        self.cached: set[str] = set()
        """The paths of methods whose answers are stored."""
        self._paths: dict[str, str] = {}

    def add(self, labels: Mapping[str, str], cached: Iterable[str]) -> None:
        """From now on these methods have these labels."""
        self.by_path.update(labels)
        self.cached.update(cached)
        self._paths.update({label: path for path, label in labels.items()})

    def of(self, path: str) -> str:
        """The label `method`."""
        return self.by_path.get(path, OTHER)

    def rpc(self, path: str) -> str:
        """The label `rpc_method`."""
        return path[1:] if path in self.by_path else UNKNOWN_METHOD

    def of_rpc(self, rpc_method: str) -> str:
        """The label `method` of what has this label `rpc_method`."""
        return self.by_path.get(f"/{rpc_method}", OTHER)

    def path(self, label: str) -> str:
        """The method that has this label `method`; empty for none."""
        return self._paths.get(label, "")
