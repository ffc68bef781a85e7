"""The warnings that a person who labels a namespace gets."""

from typing import Any

import pytest

from proxy.injector.namespace_wishes import warnings

INJECT = "media-cache-proxy.io/inject"


def namespace(**metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", **metadata}}


@pytest.mark.parametrize("word", ["enabled", "True", "1", "disabled", "False", "no"])
def test_a_word_that_is_understood_needs_no_warning(word: str) -> None:
    assert warnings(namespace(labels={INJECT: word, "kubernetes.io/metadata.name": "shop"})) == ()


@pytest.mark.parametrize("word", ["ture", "eNabled", "yess", "", "inject"])
def test_any_other_word_is_told(word: str) -> None:
    assert warnings(namespace(labels={INJECT: word})) == (
        f"{INJECT}: {word!r} is not understood; accepted: enabled, disabled",
    )


def test_an_annotation_is_told_to_be_a_label() -> None:
    (said,) = warnings(namespace(annotations={INJECT: "true"}))
    assert said == f"{INJECT}: is an annotation of this namespace; make it a label: {INJECT}=enabled"


@pytest.mark.parametrize("group", ["labels", "annotations"])
def test_a_key_that_looks_like_it_is_told(group: str) -> None:
    (said,) = warnings(namespace(**{group: {"sidecar.media-cache-proxy.io/Inject": "enabled"}}))
    assert said.endswith(f"did you mean the label {INJECT}=enabled?")


@pytest.mark.parametrize("thing", [None, [], {}, {"metadata": None}, {"metadata": {"labels": []}}])
def test_what_is_no_namespace_says_nothing(thing: Any) -> None:
    assert warnings(thing) == ()
