"""JSON Patch operations: escaped in JSON, applied in place."""

from typing import Any

import pytest

from proxy.injector.operations import Operation, apply, pointer


def test_pointers_escape_what_they_must() -> None:
    assert pointer(("a~b", "c/d", 0, "~1")) == "/a~0b/c~1d/0/~01"


def test_each_kind_of_change() -> None:
    document: dict[str, Any] = {"list": [1, 3], "map": {"a": 1}}
    changes = [
        Operation("add", ("list", 1), 2),
        Operation("add", ("list", "-"), 4),
        Operation("replace", ("list", 0), 0),
        Operation("add", ("map", "b"), 2),
        Operation("replace", ("map", "a"), 3),
    ]
    apply(document, tuple(changes))
    assert document == {"list": [0, 2, 3, 4], "map": {"a": 3, "b": 2}}
    assert changes[0].as_json() == {"op": "add", "path": "/list/1", "value": 2}


def test_a_path_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(KeyError):
        apply({}, (Operation("add", ("a", "b"), 1),))
