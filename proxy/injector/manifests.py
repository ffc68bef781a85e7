"""Manifests: applies the patch to pods and pod templates in YAML files, keeping comments and order.

A document that is not changed comes out byte for byte; a changed one goes through ruamel.yaml's round trip.
"""

import copy
import io
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from proxy.injector import policies
from proxy.injector.operations import Operation, apply
from proxy.injector.patch import Decision, Request, decide
from proxy.injector.settings import InjectorSettings
from proxy.injector.versions import Version

_TEMPLATES: dict[str, tuple[str, ...]] = {
    "Pod": (),
    **dict.fromkeys(("Deployment", "StatefulSet", "DaemonSet", "Job", "ReplicaSet"), ("spec", "template")),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
_DOCUMENT_START = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_LIST_STYLE = re.compile(r"^( *)[^\s#-][^\n]*:[ \t]*\n\1( *)- ", re.MULTILINE)
_PLAIN_IN_ANY_YAML = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null)\Z)[A-Za-z][A-Za-z0-9_./-]*", re.IGNORECASE)


class BadManifest(Exception):  # noqa: N818 -- the text is at fault, not the program
    """The text is not valid YAML; the message says where."""


@dataclass(slots=True)
class Injected:
    """The result. `text` is the new text (the input if nothing changed); the lists are for people, one line each."""

    text: str
    injected: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known besides the manifests. `policies` holds the text of each policy, by its ConfigMap's name."""

    kubernetes: Version
    settings: InjectorSettings
    policies: Mapping[str, str] = field(default_factory=dict)


def inject(
    text: str, kubernetes: Version, settings: InjectorSettings, known: Mapping[str, str] | None = None
) -> Injected:
    """The manifests, changed as the webhook would change their pods. If there are `errors`, the text is the input.

    `known` holds the text of each policy, by its ConfigMap's name. Raises BadManifest.
    """
    result = Injected("")
    pieces = []
    around = Surroundings(kubernetes, settings, known or {})
    for number, document in enumerate(_documents(text), start=1):
        pieces.append(_inject_document(document, number, around, result))
    result.text = text if result.errors else "".join(pieces)
    return result


def _documents(text: str) -> Iterator[str]:
    """The text cut before each `---`: such a line is a document marker wherever it is (YAML 1.2, 9.1.2)."""
    starts = [match.start() for match in _DOCUMENT_START.finditer(text)]
    edges = sorted({0, *starts, len(text)})
    yield from (text[start:end] for start, end in itertools.pairwise(edges))


def _inject_document(text: str, number: int, around: Surroundings, result: Injected) -> str:
    yaml = _yaml(text)
    try:
        document = yaml.load(text)
    except YAMLError as error:
        raise BadManifest(f"document {number}: {' '.join(str(error).split())}") from None
    changes = [change for workload in _workloads(document) if (change := _change(workload, around, result))]
    if not changes:
        return text
    _unshare(document, set())
    for workload, operations in changes:
        apply(workload, operations)
    written = io.StringIO()
    yaml.dump(document, written)
    return written.getvalue()


def _change(
    workload: dict[str, Any], around: Surroundings, result: Injected
) -> tuple[dict[str, Any], tuple[Operation, ...]] | None:
    """The workload and the operations on it, None if it stays as it is; messages about it go into the result."""
    decision = _decide(workload, around)
    name = _name(workload)
    result.warnings += [f"{name}: {warning}" for warning in decision.warnings]
    if not decision.allowed:
        result.errors.append(f"{name}: {decision.message}")
    if not decision.operations:
        return None
    result.injected.append(name)
    path = _TEMPLATES[workload["kind"]]
    return workload, tuple(Operation(each.op, (*path, *each.path), _quoted(each.value)) for each in decision.operations)


def _yaml(text: str) -> YAML:
    """A round-trip parser that keeps the text's indentation of lists."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1 << 20
    yaml.explicit_start = text.startswith("---")
    style = _LIST_STYLE.search(text)
    offset = len(style[2]) if style else 0
    yaml.indent(mapping=2, sequence=offset + 2, offset=offset)
    return yaml


def _workloads(document: Any) -> Iterator[dict[str, Any]]:
    """The document itself, or the items of a List, if they are pods or have a pod template."""
    if not isinstance(document, dict):
        return
    if document.get("kind") == "List" and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _workloads(item)
    elif str(document.get("kind")) in _TEMPLATES:
        yield document


def _decide(workload: dict[str, Any], around: Surroundings) -> Decision:
    """The decision about a workload's pod. Running the command asks for the sidecar, so a workload that cannot have it
    gets a warning, or an error if its own annotation asks for it.
    """
    pod: Any = workload
    for step in _TEMPLATES[workload["kind"]]:
        pod = pod.get(step) if isinstance(pod, dict) else None
    namespace = _metadata(workload).get("namespace") or "default"
    job = workload["kind"] in {"Job", "CronJob"}
    wanted = policies.wanted(pod)
    text = around.policies.get(wanted.name) if wanted else None
    found = None if text is None else policies.Found(text)
    request = Request(namespace=str(namespace), kubernetes=around.kubernetes, job=job, policy=found)
    return decide(pod, request, around.settings)


def _name(workload: dict[str, Any]) -> str:
    metadata = _metadata(workload)
    return f"{workload['kind']} {metadata.get('name') or metadata.get('generateName') or '(no name)'}"


def _metadata(workload: dict[str, Any]) -> dict[str, Any]:
    found = workload.get("metadata")
    return found if isinstance(found, dict) else {}


def _unshare(document: Any, seen: set[int]) -> Any:
    """The tree without YAML aliases: each place that shared a node gets its own copy, so that changes stay local."""
    if not isinstance(document, dict | list):
        return document
    if id(document) in seen:
        document = copy.deepcopy(document)
        document.yaml_set_anchor(None)
    seen.add(id(document))
    for key, inner in list(document.items() if isinstance(document, dict) else enumerate(document)):
        own = _unshare(inner, seen)
        if own is not inner:
            document[key] = own
    return document


def _quoted(value: Any) -> Any:
    """A value whose texts are quoted if a YAML 1.1 parser, such as kubectl's, could misread them: `off`, `1:30`."""
    if isinstance(value, dict):
        return {key: _quoted(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_quoted(inner) for inner in value]
    if isinstance(value, str) and not _PLAIN_IN_ANY_YAML.fullmatch(value):
        return DoubleQuotedScalarString(value)
    return value
