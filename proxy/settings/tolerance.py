"""`Taken`: the settings that a proxy serves with when some are wrong and ON_BAD_SETTINGS is `forward`.

A sidecar that failed to start would keep the app from starting. So the proxy forwards: it uses the addresses of the
listener and the media service as far as it can, caches nothing, and takes no events from the shared queues. It never
gives up callers' protection: where it would have to, the start fails after all.

When only the policy is wrong, all other settings stay as given, so that the policy takes effect as soon as it can be
used, without a restart (`proxy.reloading`). Until then nothing is cached, since no policy says what may be.
"""

import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from proxy.errors import BadPolicyError, SettingError
from proxy.settings.config import Settings
from proxy.settings.flags import NOWHERE
from proxy.settings.setting_types import split_host_port

_UNCACHED: dict[str, Any] = {
    "cache_mode": "off",
    "cache_ttl": 0.0,  # an operator can switch the mode back on while the proxy runs
    "cache_stale_if_error": 0.0,
    "cache_stale_while_revalidate": 0.0,
    "rabbitmq_addr": (),
    **{f"rabbitmq_tls_{part}": "" for part in ("ca", "cert", "key", "server_name")},
}
ROUTES_OF = "routes-of:"
"""Put before the path in `policy`: only the addresses of its services are read, so that their calls are forwarded."""
_OPTIONAL = ("listen_tls_", "redis_", "sentinel_", "rabbitmq_", "upstream_tls_", "cache_", "policy")
"""Beginnings of the names of settings that are dropped when settings contradict each other or name unusable files."""


class PolicyFault(str):
    """The line about a policy that cannot be used. Unlike other faults it can be mended while the proxy runs."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Taken:
    """The settings to serve with, and one line for each fault in those that were given."""

    settings: Settings
    faults: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any], faults: Sequence[str]) -> Self:
        """Makes the settings of `values`, by field name; each value that was not understood has been replaced, and has
        its line in `faults`.

        SettingError: they contradict each other, and ON_BAD_SETTINGS is `exit` or protection would be lost.
        """
        if values["on_bad_settings"] != "forward":
            return cls(Settings(**values))
        if not faults:
            try:
                return cls(Settings(**values))
            except SettingError as error:
                faults = [str(error)]
        given = {**values, **_UNCACHED}
        if any(fault.startswith("ADMIN_TOKEN:") for fault in faults):
            given["admin_addr"] = ""
        try:
            return cls(Settings(**given), tuple(faults))
        except SettingError as error:
            return cls(_least(given, str(error)), (*faults, *({str(error)} - set(faults))))

    def after(self, error: SettingError) -> Self:
        """What to serve with after these settings led to `error`, for example because a file cannot be read.

        SettingError with the text of `error`: faults are not tolerated, it is in `faults` already, or protection would
        be lost.
        """
        if self.settings.on_bad_settings != "forward" or str(error) in self.faults:
            raise error
        if str(error).startswith("OTEL_"):
            os.environ.update(OTEL_SDK_DISABLED="true")
        values = {setting.name: getattr(self.settings, setting.name) for setting in fields(self.settings)}
        if isinstance(error, BadPolicyError) and not self.settings.policy.startswith(ROUTES_OF):
            values["policy"] = f"{ROUTES_OF}{self.settings.policy}"
            return type(self)(Settings(**values), (*self.faults, PolicyFault(error)))
        values |= _UNCACHED
        return type(self)(_least(values, str(error)), (*self.faults, str(error)))


def _least(values: dict[str, Any], error: str) -> Settings:
    """The settings that forwarding needs; SettingError when callers would lose TLS on an address others can reach."""
    if values["listen_tls_cert"] and not _on_loopback(values["listen_addr"]):
        raise SettingError(error)
    upstream_tls = {"upstream_tls": values["upstream_tls"]}
    if values["upstream_tls"] == "on":
        upstream_tls["upstream_tls_server_name"] = values["upstream_tls_server_name"]
    needed = {name: value for name, value in values.items() if not name.startswith(_OPTIONAL)}
    least = {**needed, **upstream_tls, **_UNCACHED, "redis_addr": None}
    if policy := values["policy"]:
        least["policy"] = f"{ROUTES_OF}{policy.removeprefix(ROUTES_OF)}"
    if error.startswith("TRANSPORT:"):
        least["transport"] = "grpcio"
    try:
        return Settings(**least)
    except SettingError:
        return Settings(**{**least, "media_service_addr": NOWHERE})


def _on_loopback(address: str) -> bool:
    host = split_host_port(address)[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
