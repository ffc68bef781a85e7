"""values.schema.json, applied by a real Helm: each typo and each wrong type is refused with its place."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.chart.tools import CHART, run

VALUES = YAML(typ="safe").load(CHART / "values.yaml")
FREE = {
    "global",
    "commonLabels",
    "nodeSelector",
    "affinity",
    "podAnnotations",
    "serviceAccountAnnotations",
    "annotations",
    "labels",
    "webhookAnnotations",
}
"""Maps whose keys the user chooses."""


def paths(values: dict[str, Any], *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The path of every value."""
    for key, value in values.items():
        yield (*path, key), value
        if isinstance(value, dict) and key not in FREE:
            yield from paths(value, *path, key)


EVERY = dict(paths(VALUES))


def nested(path: tuple[str, ...], value: Any) -> str:
    for key in reversed(path):
        value = {key: value}
    return json.dumps(value)


def refusal(values: str, tmp_path: Path) -> str:
    """What Helm says about values that it must refuse."""
    file = tmp_path / "values.json"
    file.write_text(values)
    done = run("helm", "template", "mcp", CHART, "--values", file)
    assert done.returncode != 0, f"{values} was accepted"
    return done.stderr


def wrong(value: Any) -> Any:
    """A value of another type than this one."""
    if isinstance(value, str):
        return ["x"]
    if isinstance(value, bool):
        return "yes"
    return "many" if isinstance(value, int) else 7


@pytest.mark.parametrize("path", EVERY, ids=".".join)
def test_a_typo_is_refused(path: tuple[str, ...], tmp_path: Path) -> None:
    *parents, last = path
    said = refusal(nested((*parents, f"{last}x"), EVERY[path]), tmp_path)
    assert f"'{last}x'" in said


@pytest.mark.parametrize("path", EVERY, ids=".".join)
def test_a_wrong_type_is_refused(path: tuple[str, ...], tmp_path: Path) -> None:
    said = refusal(nested(path, wrong(EVERY[path])), tmp_path)
    assert path[-1] in said or "/".join(path) in said


SECTIONS = [path for path, value in EVERY.items() if isinstance(value, dict)]


@pytest.mark.parametrize("path", SECTIONS, ids=".".join)
def test_a_section_of_null_is_nothing_or_is_said_to_be_missing(path: tuple[str, ...], tmp_path: Path) -> None:
    """Helm removes it before the schema sees it. People write `limits: null` for no limits."""
    file = tmp_path / "values.json"
    file.write_text(nested(path, None))
    shown = [] if path == ("standalone",) else ["--set", "standalone.enabled=true"]
    done = run("helm", "template", "mcp", CHART, "--values", file, *shown)
    assert done.returncode == 0 or f"missing property '{path[-1]}'" in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"injector": {"replicas": "two"}}, "at '/injector/replicas': got string, want null or integer"),
        ({"sidecar": {"runAsUser": "1000"}}, "at '/sidecar/runAsUser': got string, want null or integer"),
        ({"sidecar": {"cacheTtl": 3600}}, "at '/sidecar/cacheTtl': got number, want string"),
        ({"sidecar": {"logLevel": "INFO"}}, "at '/sidecar/logLevel': value must be one of '', 'debug', 'info'"),
        ({"sidecar": {"resources": {"limits": {"cpu": ["1"]}}}}, "limits/cpu': got array, want"),
        ({"injector": {"extraEnv": {"A": "b"}}}, "at '/injector/extraEnv': got object, want array"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_is_taken(values: dict[str, Any], said: str, tmp_path: Path) -> None:
    lines = [each for each in refusal(json.dumps(values), tmp_path).splitlines() if "at '/" in each]
    assert len(lines) == 1, lines
    assert said in lines[0]


@pytest.mark.parametrize(
    "values",
    [
        {"injector": {"failurePolicy": "ignore"}},
        {"injector": {"timeoutSeconds": 31}},
        {"injector": {"tls": {"mode": "selfmanaged"}}},
        {"injector": {"tls": {"life": "soon"}}},
        {"injector": {"tls": {"caBundle": "AAAA"}}},
        {"injector": {"runAsUser": 0}},
        {"injector": {"extraEnv": [{"value": "x"}]}},
        {"injector": {"resources": {"limit": {}}}},
        {"injector": {"tls": {"life": "59m"}}},
        {"injector": {"tls": {"life": "1800s"}}},
        {"injector": {"port": 443}},
        {"injector": {"namespaceSelector": [{"key": "x"}]}},
        {"commonLabels": {"media-cache-proxy.io/component": "x"}},
        {"sidecar": {"redis": {"addr": "redis:6379"}}},
        {"sidecar": {"rabbitmq": {"addr": "amqp://guest:guest@rabbitmq/"}}},
        {"standalone": {"redis": {"addr": "redis://:secret@redis:6379"}}},
        {"standalone": {"rabbitmq": {"addr": "amqp://user:secret@rabbitmq/"}}},
        {"sidecar": {"mode": "sidecar"}},
        {"sidecar": {"redis": {"secret": "Not_A_Name"}}},
        {"sidecar": {"resources": {"requests": {"cpu": "lots"}}}},
        {"sidecar": {"logLevel": "loud"}},
        {"standalone": {"service": {"port": 0}}},
        {"image": {"digest": "latest"}},
        {"monitoring": {"interval": "often"}},
    ],
    ids=json.dumps,
)
def test_a_value_that_makes_no_sense_is_refused(values: dict[str, Any], tmp_path: Path) -> None:
    assert "values don't meet the specifications of the schema" in refusal(json.dumps(values), tmp_path)


@pytest.mark.parametrize(
    "values",
    [
        {"injector": {"tls": {"life": "1h"}}},
        {"injector": {"tls": {"life": "3600s"}}},
        {"injector": {"replicas": None}},
        {"standalone": {"replicas": None, "enabled": True, "redis": {"addr": "redis://user@redis:6379/1"}}},
        {"standalone": {"rabbitmq": {"addr": "amqp://guest:guest@rabbitmq:5672/"}}},
        {"sidecar": {"redis": {"secret": "", "addr": "redis:6379"}}},
    ],
    ids=json.dumps,
)
def test_what_makes_sense_is_taken(values: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "values.json"
    file.write_text(json.dumps(values))
    done = run("helm", "template", "mcp", CHART, "--values", file)
    assert done.returncode == 0, done.stderr


def test_global_may_hold_anything(tmp_path: Path) -> None:
    file = tmp_path / "values.json"
    file.write_text(json.dumps({"global": {"anything": {"at": ["all"]}}}))
    assert run("helm", "template", "mcp", CHART, "--values", file).returncode == 0
