"""`HttpServers`: the HTTP servers for probes and admin. This module is imported once callers are served, because the
servers' library takes a fifth of the time of all imports.
"""

from collections.abc import Awaitable, Callable, Mapping

from proxy.admin.api import Admin
from proxy.admin.conditions import Conditions
from proxy.core import Core
from proxy.settings.config import Settings
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.probes import Probes


class HttpServers:
    """`admin` and `probes` are None if their address is empty. `statistics` returns the transport's own metrics."""

    def __init__(
        self,
        settings: Settings,
        sources: Mapping[str, str],
        core: Core,
        metrics: Metrics,
        conditions: Conditions,
        statistics: Callable[[], Awaitable[bytes]],
    ) -> None:
        self.admin = Admin(settings, sources, core, metrics, conditions) if settings.admin_addr else None
        probes = settings.probe_addr
        self.probes = (
            Probes(probes, conditions.unready, metrics, statistics, remark=conditions.faults) if probes else None
        )

    async def stop(self) -> None:
        """Stops both servers."""
        for http in (self.admin, self.probes):
            if http is not None:
                await http.stop()
