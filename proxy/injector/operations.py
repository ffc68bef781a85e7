"""The two JSON patch operations (RFC 6902) that injecting needs, and how they change a document in place."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Operation:
    """`add` inserts into a list (`-`: at its end) or sets a member; `replace` puts a value in the place of another."""

    op: Literal["add", "replace"]
    path: tuple[str | int, ...]
    value: Any

    def as_json(self) -> dict[str, Any]:
        """As RFC 6902 has it, the path a JSON pointer (RFC 6901: `~` and `/` escaped)."""
        return {"op": self.op, "path": pointer(self.path), "value": self.value}


def pointer(path: tuple[str | int, ...]) -> str:
    """A JSON pointer of unescaped steps."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


def apply(document: Any, operations: tuple[Operation, ...]) -> None:
    """Changes a tree of mappings and lists; KeyError or IndexError when a path does not exist in it."""
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
    """The same as putting the new one in its place, but comments of a YAML mapping stay where they are."""
    for key in [key for key in old if key not in new]:
        del old[key]
    old.update(new)
