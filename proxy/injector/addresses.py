"""Replacing a service's address in a container's environment, and the entries that pass the original to the sidecar.

An *original* is the list of environment entries that gives the sidecar the address: the entries that a literal refers
to, in their order, then the address itself under the sidecar's own name. How the kubelet expands `$(NAME)`:
https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
(only entries before the referring one, and service links; `$$` escapes; literals see the values of envFrom).
"""

import copy
import re
from typing import Any

from proxy.injector.names import UPSTREAM_VARIABLE
from proxy.injector.refusal import Refused, annotation
from proxy.injector.settings import SERVE_TYPES
from proxy.settings import own_address

Entry = dict[str, Any]

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")
_SERVICE_LINK = re.compile(r"[A-Z][A-Z0-9_]*_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_[A-Z]+(_[A-Z]+)?)?)")
_KEPT_SCHEME = re.compile(r"(dns|passthrough):///")
_OUT_OF_REACH = {
    "unix": "is a socket in a volume, which the sidecar does not have",
    "xds": "is looked up by what the app is told of xDS, which the sidecar is not",
}
_NOT_TO_COPY = re.compile(r"(OTEL|GRPC|PYTHON|LD)_?[A-Z0-9_]*|PATH|HOME|ADMIN_[A-Z]+|[a-zA-Z]+_(proxy|PROXY)")
"""Names that would change how the sidecar itself runs."""


def places(container: dict[str, Any], variable: str) -> list[int]:
    """The indexes of the variable's entries; the app sees the value of the last one."""
    return [index for index, entry in enumerate(container.get("env") or ()) if entry["name"] == variable]


def swapped(entry: Entry, address: str) -> Entry:
    """A new entry with the sidecar's address, keeping a `dns:///` or `passthrough:///` scheme.

    The whole entry is replaced, since a `value` next to a remaining `valueFrom` would be invalid.
    """
    scheme = _KEPT_SCHEME.match(entry.get("value") or "")
    return {"name": entry["name"], "value": f"{scheme[0] if scheme else ''}{address}"}


def is_swapped(entry: Entry, address: str) -> bool:
    """Whether an entry already has the sidecar's address."""
    return not entry.get("valueFrom") and _KEPT_SCHEME.sub("", entry.get("value") or "", count=1) == address


def literal(address: str) -> list[Entry]:
    """The original for an address that an annotation gives."""
    return [{"name": UPSTREAM_VARIABLE, "value": address}]


def may_be_copied(name: str) -> bool:
    """Whether an entry of this name has no effect on the sidecar itself."""
    return name not in SERVE_TYPES and not _NOT_TO_COPY.fullmatch(name)


def original(container: dict[str, Any], index: int, own: str = UPSTREAM_VARIABLE) -> list[Entry]:
    """The original of the entry at an index, under the name `own`; raises Refused if the sidecar cannot resolve it."""
    env = container["env"]
    entries = [_copy(container, each) for each in sorted(_referenced(container, index))]
    for entry in entries:
        if not may_be_copied(entry["name"]):
            raise _unusable(container, env[index]["name"], f"refers to $({entry['name']}), which the sidecar reads too")
    last = _copy(container, index)
    if not last.get("valueFrom"):
        _check_literal(container, last)
    return [*entries, {**last, "name": own}]


def names_the_sidecar(entries: list[Entry], port: int) -> bool:
    """Whether an original leads back to the sidecar's own port, as far as its value is visible."""
    seen: dict[str, str] = {}
    for entry in entries:
        if not entry.get("valueFrom"):
            seen[entry["name"]] = _expanded(entry.get("value") or "", seen)
    target = seen.get(entries[-1]["name"], "")
    return any(there == port and own_address.is_loopback(host) for host, there in own_address.endpoints(target))


def _expanded(value: str, seen: dict[str, str]) -> str:
    """A value expanded as the kubelet does it; a reference to an entry not in `seen` stays."""

    def put(match: re.Match[str]) -> str:
        return "$" if match[1] is None else seen.get(match[1], match[0])

    return _REFERENCE.sub(put, value)


def _referenced(container: dict[str, Any], index: int) -> set[int]:
    """The indexes of the entries that the one at an index refers to, directly or through others; raises Refused."""
    env = container["env"]
    found: set[int] = set()
    if env[index].get("valueFrom"):
        return found
    for name in _references(env[index].get("value") or ""):
        before = [each for each in places(container, name) if each < index]
        if before:
            found |= {before[-1]} | _referenced(container, before[-1])
        elif container.get("envFrom"):
            raise _unusable(container, env[index]["name"], f"refers to $({name}), which may come from envFrom")
        elif not _SERVICE_LINK.fullmatch(name):
            raise _unusable(container, env[index]["name"], f"refers to $({name}), which is not defined before it")
    return found


def _references(value: str) -> list[str]:
    return [match[1] for match in _REFERENCE.finditer(value) if match[1] is not None]


def _copy(container: dict[str, Any], index: int) -> Entry:
    """A copy of an entry for the sidecar: the same source, as another container must refer to it; raises Refused."""
    entry: Entry = copy.deepcopy(container["env"][index])
    source = entry.get("valueFrom")
    if source and "fileKeyRef" in source:
        raise _unusable(container, entry["name"], "comes from a file in a volume, which the sidecar does not have")
    if source and source.get("resourceFieldRef"):
        source["resourceFieldRef"].setdefault("containerName", container["name"])
    return entry


def _check_literal(container: dict[str, Any], entry: Entry) -> None:
    value = entry.get("value") or ""
    if not value:
        raise _unusable(container, entry["name"], "is empty")
    scheme = value.partition(":")[0]
    if scheme in _OUT_OF_REACH:
        raise _unusable(container, entry["name"], _OUT_OF_REACH[scheme])
    if not _REFERENCE.search(value):
        kind = SERVE_TYPES[UPSTREAM_VARIABLE]
        try:
            kind.parse(value)
        except ValueError:
            raise _unusable(container, entry["name"], f"is {value!r}, not {kind.accepted}") from None


def _unusable(container: dict[str, Any], variable: str, problem: str) -> Refused:
    return Refused(
        "no-address",
        annotation("upstream"),
        f"{variable} of container {container['name']} {problem}; set this to the media service's address",
    )
