"""`Renewal`: gives Envoy the clusters and routes of a policy that has changed, and waits until it has them.

Clusters come first, since routes name them; those of the policy before stay until the next change, for calls in
progress.
"""

import asyncio
import json
import logging
from collections.abc import Sequence

from proxy.envoy.addresses import Json
from proxy.envoy.admin import EnvoyAdmin, Updates
from proxy.envoy.bootstrap import Place, clusters_of
from proxy.envoy.listener import routes
from proxy.envoy.renewed import CLUSTERS, ROUTES, write
from proxy.envoy.services import Placed
from proxy.envoy.tls import secrets
from proxy.settings.config import Settings

_log = logging.getLogger(__name__)

_WITHIN = 5.0
_LOOK_EVERY = 0.02


class Renewal:
    """Of one Envoy."""

    def __init__(self, settings: Settings, place: Place, admin: EnvoyAdmin, services: Sequence[Placed]) -> None:
        """`services` are those that it starts with."""
        self._settings = settings
        self._place = place
        self._admin = admin
        self._services = tuple(services)

    async def take_up(self, services: Sequence[Placed]) -> Sequence[str]:
        """What of it counts from the next start only: all, if Envoy does not take it."""
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
            if not file.exists():  # what it says is what its name stands for
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
