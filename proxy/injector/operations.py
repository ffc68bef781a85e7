"""`Operation`: the two JSON Patch operations (RFC 6902) that injecting needs, as JSON and applied in place."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Operation:
    """`add` inserts into a list (the step `-` is its end) or sets a member; `replace` replaces an existing value."""

    op: Literal["add", "replace"]
    path: tuple[str | int, ...]
    value: Any

    def as_json(self) -> dict[str, Any]:
        """The operation as JSON (RFC 6902); the path is a JSON Pointer (RFC 6901), with `~` and `/` escaped."""
        return {"op": self.op, "path": pointer(self.path), "value": self.value}


def pointer(path: tuple[str | int, ...]) -> str:
    """The JSON Pointer for a path of unescaped steps."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


def apply(document: Any, operations: tuple[Operation, ...]) -> None:
    """Changes a tree of mappings and lists in place; raises KeyError or IndexError if a path does not exist in it."""
    for operation in operations:
        target = document
        for step in operation.path[:-1]:
            target = target[step]
        last = operation.path[-1]
        if operation.op == "replace" and isinstance(target[last], dict) and isinstance(operation.value, dict):
            _become(target[last], operation.value)
        elif operation.op == "replace" or not isinstance(target, list):
            target[last] = operation.value
        elif last == "-":
            target.append(operation.value)
        else:
            target.insert(int(last), operation.value)


def _become(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Makes the old mapping equal to the new one; unlike replacing it, this keeps the comments of a YAML mapping."""
    for key in [key for key in old if key not in new]:
        del old[key]
    old.update(new)
