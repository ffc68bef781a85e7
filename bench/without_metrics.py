"""`python -m bench.without_metrics serve`: the proxy with metrics that count nothing, to compare with."""

from grpc import StatusCode

from proxy import app, cli
from proxy.telemetry.metrics import Metrics, Result, Tier


class NoMetrics(Metrics):
    """Ignores what a hit reports to its observers."""

    def request(self, method: str, result: Result, tier: Tier, seconds: float) -> None:
        """Does nothing."""

    def server_call(self, method: str, code: StatusCode, seconds: float) -> None:
        """Does nothing."""

    def client_call(self, method: str, code: StatusCode, seconds: float) -> None:
        """Does nothing."""


if __name__ == "__main__":
    vars(app)["Metrics"] = NoMetrics
    cli.main()
