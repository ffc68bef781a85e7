"""The golden pods: each file holds a pod and what must come out of it."""

import copy
import json
from pathlib import Path
from typing import Any, cast

from ruamel.yaml import YAML

from proxy import __version__
from proxy.injector import operations
from proxy.injector.patch import Decision, Request, decide
from proxy.injector.policies import Found
from proxy.injector.settings import InjectorSettings
from proxy.injector.versions import parse_version

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.yaml"))


def load(path: Path) -> dict[str, Any]:
    case = YAML(typ="safe").load(path)
    assert isinstance(case, dict)
    return case


def policy_of(given: dict[str, Any]) -> Found | None:
    """The text of the policy that a golden pod names."""
    return Found(given["policy"]) if "policy" in given else None


def decision(given: dict[str, Any]) -> Decision:
    settings = InjectorSettings(
        **{
            name: InjectorSettings.__dataclass_fields__[name].metadata["type"].parse(text)
            for name, text in given.get("settings", {}).items()
        }
    )
    request = Request(namespace="shop", kubernetes=parse_version(given["kubernetes"]), policy=policy_of(given))
    return decide(given["pod"], request, settings)


def expectation(found: Decision) -> dict[str, Any]:
    """A decision as the golden files write it."""
    shown: dict[str, Any] = {"allowed": found.allowed, "reason": found.reason}
    if found.message:
        shown["message"] = found.message
    if found.warnings:
        shown["warnings"] = list(found.warnings)
    if found.operations:
        shown["patch"] = [operation.as_json() for operation in found.operations]
    # With the real version, every file would change with each release.
    return cast("dict[str, Any]", json.loads(json.dumps(shown).replace(__version__, "VERSION")))


def patched(pod: dict[str, Any], found: Decision) -> dict[str, Any]:
    """A copy of the pod with the patch applied."""
    result = copy.deepcopy(pod)
    operations.apply(result, copy.deepcopy(found.operations))
    return result


def complete(pod: dict[str, Any]) -> dict[str, Any]:
    """The pod with apiVersion and kind, as in every manifest."""
    return {"apiVersion": "v1", "kind": "Pod", **pod}


def app(pod: dict[str, Any], name: str) -> dict[str, Any]:
    """A container of the pod by its name."""
    every = [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]
    (found,) = [each for each in every if each["name"] == name]
    assert isinstance(found, dict)
    return found
