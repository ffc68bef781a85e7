"""Whatever is in a pod, there is an answer and never an exception, and every patch applies."""

import copy
import json
from typing import Any

import jsonpatch
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.injector.review import answer
from proxy.injector.settings import InjectorSettings
from tests.injector.pods import GOLDEN, load
from tests.injector.reviews import patch_of, review

PODS = [load(path)["given"]["pod"] for path in GOLDEN]
SETTINGS = InjectorSettings()

junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("$(A):$$(B)"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "env", "value", "x"]), inner),
    max_leaves=5,
)


def places(node: Any, *path: str | int) -> list[tuple[str | int, ...]]:
    """The path of every node in a tree except its root."""
    found: list[tuple[str | int, ...]] = [path] if path else []
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for step, child in children:
        found += places(child, *path, step)
    return found


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_junk_anywhere_in_a_pod_is_answered(data: st.DataObject) -> None:
    pod = copy.deepcopy(data.draw(st.sampled_from(PODS)))
    for _ in range(data.draw(st.integers(1, 2))):
        *parents, last = data.draw(st.sampled_from(places(pod)))
        target = pod
        for step in parents:
            target = target[step]
        target[last] = data.draw(junk)
    found = answer(json.dumps(review(pod)).encode(), (1, 35), SETTINGS)
    response = found.body["response"]
    assert response["allowed"] is (found.result != "denied")
    assert all(len(warning) <= 256 for warning in response.get("warnings", ()))
    if found.result == "injected":
        jsonpatch.apply_patch(pod, patch_of(found.body))


@settings(max_examples=200, deadline=None)
@given(junk)
def test_junk_for_a_pod_is_answered(pod: Any) -> None:
    assert answer(json.dumps(review({}, object=pod)).encode(), (1, 35), SETTINGS).result in {"skipped", "unchanged"}
