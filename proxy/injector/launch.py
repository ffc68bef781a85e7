"""The webhook's composition root: what it is built from, and how it starts and ends."""

import asyncio
import signal
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from proxy.injector.certificates import Keeper, Mounted, SelfManaged, Source
from proxy.injector.cluster import Cluster, ClusterError, connect
from proxy.injector.metrics import WebhookMetrics
from proxy.injector.settings import InjectorSettings
from proxy.injector.webhook import Webhook, serve


class StartError(Exception):
    """The webhook cannot start; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """The webhook's own flags; times are in seconds."""

    listen_addr: str
    probe_addr: str
    namespace: str
    service: str
    configuration: str
    tls_mode: str
    tls_secret: str
    tls_dir: str
    tls_write_ca_bundle: bool
    tls_life: float
    tls_interval: float
    tls_settle: float
    drain_time: float
    namespace_rules: bool = True
    events: bool = True

    @property
    def names(self) -> list[str]:
        """The DNS names of the certificate; API servers use the first one."""
        base = f"{self.service}.{self.namespace}"
        return [f"{base}.svc", f"{base}.svc.cluster.local", base]


async def run(launch: Launch, settings: InjectorSettings) -> None:
    """Runs the webhook until SIGTERM or SIGINT; raises StartError if no API server is found or a port is taken."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with connect(launch.namespace, launch.tls_secret, launch.configuration) as cluster:
            await serve(
                build(launch, settings, cluster),
                launch.listen_addr,
                launch.probe_addr,
                interval=launch.tls_interval,
                drain_time=launch.drain_time,
                stop=stop,
            )
    except (ClusterError, OSError) as error:
        raise StartError(str(error)) from error


def build(launch: Launch, settings: InjectorSettings, cluster: Cluster) -> Webhook:
    """The webhook with everything that it needs; not started yet."""
    metrics = WebhookMetrics()
    self_managed = launch.tls_mode == "selfManaged"
    life = timedelta(seconds=launch.tls_life)
    source: Source = (
        SelfManaged(cluster, launch.names, life, metrics, lambda: datetime.now(UTC))
        if self_managed
        else Mounted(Path(launch.tls_dir))
    )
    keeper = Keeper(
        source,
        cluster,
        launch.names[0],
        metrics,
        writes_bundle=self_managed or (launch.tls_mode == "existingSecret" and launch.tls_write_ca_bundle),
        settle=timedelta(seconds=launch.tls_settle),
    )
    return Webhook(
        settings,
        keeper,
        cluster,
        metrics,
        asks_namespaces=launch.namespace_rules,
        tells_owners=launch.events,
        watches=(cluster.configuration_changes, *([cluster.secret_changes] if self_managed else [])),
    )
