"""The injector reads the variables of a policy's services, and nothing that needs CEL."""

import subprocess
import sys
from typing import Any

import pytest

from proxy.injector import policies
from proxy.injector.policies import Found, Listed
from proxy.injector.refusal import Refused
from proxy.injector.values import ConfigMapKey

SHOP = ConfigMapKey("shop", "policy.yaml")


def text(*services: str) -> str:
    return "version: 1\nservices:\n" + "".join(f"  - {{{each}}}\n" for each in services)


@pytest.mark.parametrize(
    ("services", "expected"),
    [
        (("name: media.MediaService, builtin: true",), Listed(None, ())),
        (("name: media.MediaService, builtin: true, address_variable: MEDIA",), Listed("MEDIA", ())),
        (("name: a.A, address_variable: A_ADDR", "name: b.B"), Listed(None, ("A_ADDR",))),
        (("name: a.A, address_variable: SAME", "name: b.B, address_variable: SAME"), Listed(None, ("SAME",))),
    ],
)
def test_the_variables_of_a_policy(services: tuple[str, ...], expected: Listed) -> None:
    assert policies.listed(SHOP, Found(text(*services))) == expected


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "shop: cannot be read without a cluster; give its file with --policy"),
        (Found(trouble="cannot be read: 404"), "shop: cannot be read: 404"),
        (Found("services: ["), "shop: policy.yaml:"),
        (Found("version: 1\nservices: []\nevent: []\n"), "shop: policy.yaml:3:1: "),
        (
            Found(text("name: a.A, address_variable: LISTEN_ADDR")),
            "shop: address_variable LISTEN_ADDR of a.A is one of the",
        ),
        (
            Found(text("name: a.A, address_variable: LD_PRELOAD")),
            "shop: address_variable LD_PRELOAD of a.A is one of the",
        ),
    ],
)
def test_a_policy_that_cannot_be_used_is_refused(found: Found | None, said: str) -> None:
    with pytest.raises(Refused) as refused:
        policies.listed(SHOP, found)
    assert refused.value.message.startswith(f"media-cache-proxy.io/policy: {said}")


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({}, None),
        ({"policy": "shop"}, SHOP),
        ({"policy": "shop:other.yaml"}, ConfigMapKey("shop", "other.yaml")),
        ({"policy": "a b"}, None),
        ({"policy": 1}, None),
    ],
)
def test_what_a_pod_names(annotations: dict[str, Any], expected: ConfigMapKey | None) -> None:
    named = {f"media-cache-proxy.io/{key}": value for key, value in annotations.items()}
    assert policies.wanted({"metadata": {"annotations": named}}) == expected
    assert policies.wanted([]) is None


def test_the_webhook_loads_no_expression_language() -> None:
    code = "import sys, proxy.injector.launch; print([each for each in sys.modules if 'cel' in each.split('_')])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
