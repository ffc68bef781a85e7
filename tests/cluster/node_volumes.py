"""`Given`: what a pod of the toy node gets: its containers' environment, and the folders of its volumes.

Secrets and ConfigMaps are mounted as a kubelet does it: behind a symbolic link that changes when they do.
"""

import base64
import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.cluster.node_container import at_home

Ask = Callable[..., Awaitable[dict[str, Any] | None]]
"""`ask("secrets", "name")` gives an object of the pod's namespace, or None if it does not exist."""

_REFERENCE = re.compile(r"\$(\$|\(([^)]*)\))")


class NotThereError(Exception):
    """The pod cannot start yet; the message says what it waits for."""


def _decoded(kind: str, found: dict[str, Any]) -> dict[str, bytes]:
    if kind == "secrets":
        return {name: base64.b64decode(text) for name, text in (found.get("data") or {}).items()}
    binary = {name: base64.b64decode(text) for name, text in (found.get("binaryData") or {}).items()}
    return {name: text.encode() for name, text in (found.get("data") or {}).items()} | binary


class Given:
    """Makes these for one pod; `token(audience, seconds)` asks for a token of its account."""

    def __init__(self, pod: dict[str, Any], ip: str, ask: Ask, token: Callable[..., Awaitable[str]]) -> None:
        self._pod, self._ip, self._ask, self._token = pod, ip, ask, token

    async def environment(self, container: dict[str, Any]) -> dict[str, str]:
        """The environment as a kubelet makes it: envFrom, then env in order; `$(NAME)` sees what is known so far."""
        known: dict[str, str] = {}
        for source in container.get("envFrom") or ():
            for group, kind in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
                if group in source:
                    data = await self._data(kind, source[group]["name"], source[group].get("optional", False))
                    known |= {source.get("prefix", "") + name: value.decode() for name, value in data.items()}
        for entry in container.get("env") or ():
            value = await self._value(entry, known)
            if value is not None:
                known[entry["name"]] = value
        return known

    async def _value(self, entry: dict[str, Any], known: dict[str, str]) -> str | None:
        source = entry.get("valueFrom")
        if source is None:
            return at_home(_expanded(entry.get("value") or "", known), self._ip)
        for group, kind in (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")):
            if group in source:
                reference = source[group]
                optional = reference.get("optional", False)
                data = await self._data(kind, reference["name"], optional)
                if reference["key"] not in data and not optional:
                    raise NotThereError(f"key {reference['key']} of {kind}/{reference['name']}")
                return data[reference["key"]].decode() if reference["key"] in data else None
        if "fieldRef" in source:
            return self._field(source["fieldRef"]["fieldPath"])
        raise NotImplementedError(f"the toy node knows no {sorted(source)}")

    def _field(self, path: str) -> str:
        if path in {"status.podIP", "status.hostIP"}:
            return self._ip
        found: Any = self._pod
        for step in path.split("."):
            found = found[step]
        return str(found)

    async def _data(self, kind: str, name: str, optional: bool) -> dict[str, bytes]:
        found = await self._ask(kind, name)
        if found is None and not optional:
            raise NotThereError(f"{kind}/{name}")
        return _decoded(kind, found or {})

    async def fill(self, volume: dict[str, Any], folder: Path) -> None:
        """Makes the folder of a volume, or brings it up to date."""
        if "secret" in volume:
            files = await self._files("secrets", volume["secret"]["secretName"], volume["secret"])
        elif "configMap" in volume:
            files = await self._files("configmaps", volume["configMap"]["name"], volume["configMap"])
        elif "projected" in volume:
            files = await self._projected(volume["projected"]["sources"], folder)
        elif "emptyDir" in volume:
            files = {}
        else:
            raise NotImplementedError(f"the toy node knows no volume {volume}")
        _swap(folder, files)

    async def _files(self, kind: str, name: str, source: dict[str, Any]) -> dict[str, bytes]:
        data = await self._data(kind, name, source.get("optional", False))
        items = source.get("items")
        if not items:
            return data
        missing = [item["key"] for item in items if item["key"] not in data]
        if missing and not source.get("optional"):
            raise NotThereError(f"key {missing[0]} of {kind}/{name}")
        return {item["path"]: data[item["key"]] for item in items if item["key"] in data}

    async def _projected(self, sources: list[dict[str, Any]], folder: Path) -> dict[str, bytes]:
        files: dict[str, bytes] = {}
        for source in sources:
            if token := source.get("serviceAccountToken"):
                there = folder / token["path"]
                files[token["path"]] = there.read_bytes() if there.exists() else (await self._token()).encode()
            elif found := source.get("configMap"):
                files |= await self._files("configmaps", found["name"], found)
            elif found := source.get("downwardAPI"):
                files |= {each["path"]: self._field(each["fieldRef"]["fieldPath"]).encode() for each in found["items"]}
            else:
                raise NotImplementedError(f"the toy node knows no projection {source}")
        return files


def _swap(folder: Path, files: dict[str, bytes]) -> None:
    """Replaces all files at once, by the link `..data`, if they have changed."""
    folder.mkdir(parents=True, exist_ok=True)
    if not files:
        return
    link = folder / "..data"
    old = link.readlink() if link.is_symlink() else None
    if old and {each.name: each.read_bytes() for each in (folder / old).iterdir()} == files:
        return
    new = folder / f"..{int(old.name.removeprefix('..')) + 1 if old else 1}"
    new.mkdir()
    for name, content in files.items():
        (new / name).write_bytes(content)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data") / name)
    part = folder / "..part"
    part.symlink_to(new.name)
    part.replace(link)
    if old:
        shutil.rmtree(folder / old)


def _expanded(text: str, known: dict[str, str]) -> str:
    return _REFERENCE.sub(lambda match: "$" if match[1] == "$" else known.get(match[2], match[0]), text)
