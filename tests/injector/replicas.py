"""Replicas of the webhook for tests of the certificates."""

import ssl
from datetime import UTC, datetime, timedelta

from proxy.injector.certificates import Keeper, SelfManaged, Source
from proxy.injector.cluster import Cluster
from proxy.injector.metrics import WebhookMetrics

NAME = "injector.system.svc"
DAY = timedelta(days=1)
SETTLE = timedelta(seconds=20)


class Clock:
    """A clock that starts so early that a pair made then is due for renewal now, but still valid by the real clock."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC) - 61 * DAY

    def __call__(self) -> datetime:
        return self.now


class Replica:
    """A keeper of its own, with what tests need to see of it."""

    def __init__(
        self, cluster: Cluster, clock: Clock, source: Source | None = None, *, writes_bundle: bool = True
    ) -> None:
        self.metrics = WebhookMetrics()
        self.keeper = Keeper(
            source or SelfManaged(cluster, [NAME], 90 * DAY, self.metrics, clock),
            cluster,
            NAME,
            self.metrics,
            writes_bundle=writes_bundle,
            settle=SETTLE,
            clock=clock,
        )

    def problem(self) -> str | None:
        return self.keeper.problem

    def number(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def presented(self) -> bytes:
        """The leaf certificate that a handshake gets."""
        server_in, client_in = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = self.keeper.context.wrap_bio(server_in, client_in, server_side=True)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = context.wrap_bio(client_in, server_in)
        for end in (client, server, client, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
        der = client.getpeercert(binary_form=True)
        assert der
        return ssl.DER_cert_to_PEM_cert(der).encode()
