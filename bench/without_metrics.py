"""`python -m bench.without_metrics serve`: the proxy with metrics that count nothing, to compare with."""

from grpc import StatusCode

from proxy import app, cli
from proxy.telemetry.metrics import Metrics, Result, Tier


class NoMetrics(Metrics):
    """What a hit tells its observers goes nowhere."""

    def request(self, method: str, result: Result, tier: Tier, seconds: float) -> None:
        """Nothing."""

    def server_call(self, method: str, code: StatusCode, seconds: float) -> None:
        """Nothing."""

    def client_call(self, method: str, code: StatusCode, seconds: float) -> None:
        """Nothing."""


if __name__ == "__main__":
    vars(app)["Metrics"] = NoMetrics
    cli.main()
