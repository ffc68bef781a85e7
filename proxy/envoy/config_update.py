"""`ConfigUpdate`: gives Envoy the clusters and routes of a changed policy, and waits until it uses them.

Clusters come first, since routes name them. Those of the previous policy stay until the next change, for calls in
progress.
"""

import asyncio
import json
import logging
from collections.abc import Sequence

from proxy.envoy.addresses import Json
from proxy.envoy.admin import EnvoyAdmin, Updates
from proxy.envoy.bootstrap import Place, clusters_of
from proxy.envoy.dynamic_config import CLUSTERS, ROUTES, write
from proxy.envoy.listener import routes
from proxy.envoy.services import Placed
from proxy.envoy.tls import secrets
from proxy.settings.config import Settings

_log = logging.getLogger(__name__)

_WITHIN = 5.0
_LOOK_EVERY = 0.02


class ConfigUpdate:
    """Renews the configuration of one Envoy."""

    def __init__(self, settings: Settings, place: Place, admin: EnvoyAdmin, services: Sequence[Placed]) -> None:
        """`services` are those that Envoy started with."""
        self._settings = settings
        self._place = place
        self._admin = admin
        self._services = tuple(services)

    async def take_up(self, services: Sequence[Placed]) -> Sequence[str]:
        """Makes Envoy use these services. Returns what takes effect only at the next start, for a message: Envoy's
        routes if it did not accept them, otherwise nothing.
        """
        before, now = self._services, tuple(services)
        if now == before:
            return ()
        try:
            self._write_secrets(now)
            clusters = clusters_of(self._settings, self._place, (*before, *now))
            await self._take(CLUSTERS, clusters, "cluster_manager.cds")
            await self._take(ROUTES, [routes(self._settings, now)], "http.callers.rds.routes")
        except (OSError, ValueError) as error:
            _log.error("Envoy keeps the routes of the previous policy: %s", error)
            return ("the routes of Envoy",)
        self._services = now
        return ()

    def _write_secrets(self, services: Sequence[Placed]) -> None:
        for name, secret in secrets(self._settings, services).items():
            file = self._place.directory / name
            if not file.exists():  # its name identifies its content
                file.write_text(json.dumps(secret))

    async def _take(self, what: str, resources: Sequence[Json], counted: str) -> None:
        before = await self._admin.updates(counted)
        self._write(what, resources)
        try:
            async with asyncio.timeout(_WITHIN):
                now = await self._after(counted, before)
        except TimeoutError:
            raise OSError(f"it has not loaded its {what} after {_WITHIN:g} s") from None
        if now.rejected != before.rejected:
            raise OSError(f"it rejects its {what}")

    async def _after(self, counted: str, before: Updates) -> Updates:
        while True:
            now = await self._admin.updates(counted)
            if now != before:
                return now
            await asyncio.sleep(_LOOK_EVERY)

    def _write(self, what: str, resources: Sequence[Json]) -> None:
        write(self._place.directory, what, resources)
