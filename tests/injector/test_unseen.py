"""Addresses that are not visible at admission: warnings that part of the app may not use the sidecar."""

from typing import Any

import pytest

from proxy.injector.patch import Decision, Request, decide
from proxy.injector.policies import Found
from proxy.injector.settings import InjectorSettings

FROM = [{"configMapRef": {"name": "settings"}}]
POLICY = """\
version: 1
services:
  - {name: media.MediaService, builtin: true}
  - {name: product.ProductService, address_variable: PRODUCT_SERVICE_ADDR, descriptors: product.binpb}
"""


def container(name: str, *variables: str, env_from: bool = False) -> dict[str, Any]:
    env = [{"name": each, "value": "media:50056"} for each in variables]
    return {"name": name, "image": "x:1", "env": env, **({"envFrom": FROM} if env_from else {})}


def decided(*containers: dict[str, Any], kubernetes: tuple[int, int] = (1, 35), **wishes: str) -> Decision:
    notes = {f"media-cache-proxy.io/{name.replace('_', '-')}": text for name, text in wishes.items()}
    *inits, app = containers
    spec = {"initContainers": [each for each in inits if each["name"] == "init"]}
    spec["containers"] = [*(each for each in inits if each["name"] != "init"), app]
    pod = {"metadata": {"annotations": {"media-cache-proxy.io/inject": "true", **notes}}, "spec": spec}
    return decide(pod, Request(namespace="shop", kubernetes=kubernetes, policy=Found(POLICY)), InjectorSettings())


HIDDEN = (
    "worker: MEDIA_SERVICE_ADDR may come from envFrom, which cannot be seen here, and then does not use the sidecar"
)


def test_a_container_that_may_have_it_from_elsewhere_is_told() -> None:
    found = decided(container("worker", env_from=True), container("app", "MEDIA_SERVICE_ADDR"))
    assert found.reason == "injected"
    assert found.unseen == found.warnings[-1:]
    assert found.unseen[0].startswith(HIDDEN)


def test_an_init_container_too() -> None:
    found = decided(container("init", env_from=True), container("app", "MEDIA_SERVICE_ADDR"))
    assert found.unseen[0].startswith("init: MEDIA_SERVICE_ADDR may come from envFrom")


@pytest.mark.parametrize(
    "found",
    [
        decided(container("worker"), container("app", "MEDIA_SERVICE_ADDR", env_from=True)),
        decided(container("worker", env_from=True), container("app", "MEDIA_SERVICE_ADDR"), containers="app"),
        decided(container("worker", env_from=True), container("app"), containers="app,worker", upstream="media:1"),
    ],
    ids=["an entry goes before envFrom", "who names the containers means no others", "its address is given"],
)
def test_nothing_is_told_where_nothing_is_hidden(found: Decision) -> None:
    assert (found.reason, found.unseen) == ("injected", ())


def test_another_services_variable_too() -> None:
    found = decided(container("app", "MEDIA_SERVICE_ADDR", env_from=True), policy="shop")
    assert found.unseen[0].startswith("app: PRODUCT_SERVICE_ADDR may come from envFrom")


@pytest.mark.parametrize(("kind", "what"), [("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")])
@pytest.mark.parametrize("behind", [False, True])
def test_a_source_that_may_be_missing_is_told(kind: str, what: str, behind: bool) -> None:
    """Without the sidecar, the app would then use a default of its own, which the injector does not know."""
    app = container("app")
    source = {kind: {"name": "media", "key": "address", "optional": True}}
    app["env"] = [{"name": "HOST" if behind else "MEDIA_SERVICE_ADDR", "valueFrom": source}]
    app["env"] += [{"name": "MEDIA_SERVICE_ADDR", "value": "$(HOST):1"}] if behind else []
    (said,) = decided(app).unseen
    name = "HOST" if behind else "MEDIA_SERVICE_ADDR"
    assert said == (
        f"{name} comes from {what} media, key address, which is optional; while that is missing, calls fail"
    )
    source[kind]["optional"] = False
    assert decided(app).unseen == ()
