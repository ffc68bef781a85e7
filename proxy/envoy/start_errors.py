"""`explained`: why Envoy did not start, in the form of the proxy's own messages about settings. Pure."""

import re
from collections.abc import Iterable
from dataclasses import fields

from proxy.errors import cannot_listen
from proxy.settings.config import Settings

_SETTINGS = (
    (r"cannot bind|[Aa]ddress already in use|listener", "LISTEN_ADDR"),
    (r"cluster|upstream|dns", "MEDIA_SERVICE_ADDR"),
)


def explained(lines: Iterable[str], settings: Settings) -> str:
    """One line from Envoy's last lines (oldest first): its own words, and the setting that they are about."""
    said = [line for line in lines if line.strip()]
    if not said:
        return "TRANSPORT=envoy: Envoy exited at once and gave no reason"
    if any(re.search(r"cannot bind|[Aa]ddress already in use", line) for line in said):
        return cannot_listen(settings.listen_addr)
    words = " ".join(said[-1].split())
    files = [each.name.upper() for each in fields(settings) if _names_file(each.name, settings, words)]
    about = [name for pattern, name in _SETTINGS if re.search(pattern, words)]
    [name, *_] = [*files, *about, "TRANSPORT"]
    value = getattr(settings, name.lower())
    return f"{name}: {value!r} is not accepted by Envoy, which says: {words}"


def _names_file(name: str, settings: Settings, words: str) -> bool:
    return "_tls_" in name and bool(path := getattr(settings, name)) and path in words
