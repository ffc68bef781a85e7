"""ON_BAD_SETTINGS=forward: the settings of a proxy whose own settings are wrong.

A sidecar that ended at its start would keep the app from starting. So it forwards: the addresses of the listener and
the media service are used as far as possible, nothing is cached, and no events are taken from the shared queues. No
protection is given up: if that is impossible, the start ends after all.

Where only the policy is wrong, all else is as it was set, so that the policy counts once it can be used, without a
restart (`proxy.reloading`). Until then nothing is cached, since no policy says what.
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
    "cache_ttl": 0.0,  # the mode may be changed while the proxy runs
    "cache_stale_if_error": 0.0,
    "cache_stale_while_revalidate": 0.0,
    "rabbitmq_addr": (),
    **{f"rabbitmq_tls_{part}": "" for part in ("ca", "cert", "key", "server_name")},
}
ROUTES_OF = "routes-of:"
"""Before the path in `policy`: only where its services are is taken from it. Calls go there even so."""
_OPTIONAL = ("listen_tls_", "redis_", "sentinel_", "rabbitmq_", "upstream_tls_", "cache_", "policy")
"""What goes when settings do not fit together, or name files that cannot be used."""


class PolicyFault(str):
    """The line for a policy that cannot be used: it may be put right while the proxy serves."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Taken:
    """The settings to serve with, and one line for each that was wrong."""

    settings: Settings
    faults: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any], faults: Sequence[str]) -> Self:
        """`faults` are of values that could not be read, with the fallback in their place; SettingError as `Settings`
        where faults are not tolerated.
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
        """What to serve with when these settings named what could not be used; the error again when nothing is left."""
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
    """The settings without what is optional; SettingError when callers would lose what protects them."""
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
