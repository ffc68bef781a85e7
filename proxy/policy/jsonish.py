"""Converts the YAML and JSON in which people write messages, in cases and on the command line, to protobuf messages."""

import json
import re
from typing import Any

import yaml
from google.protobuf import json_format
from google.protobuf.message import Message

from proxy.policy.document import Node
from proxy.policy.mistakes import shown

_JSON = re.compile(r"null|true|false|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


_WELL_KNOWN = "google.protobuf."
"""The package of types that may not be objects in JSON: a wrapper is its value, a Timestamp is a text."""


class BadMessage(Exception):  # noqa: N818 -- it is told to a person, not raised to a caller
    """What was written is not a message of the expected type."""


def value_of(node: Node, within: tuple[Node, ...] = ()) -> Any:
    """The JSON value that a node spells: an unquoted number, true, false or null is what it is in JSON, any other
    scalar is a text.

    Raises BadMessage for a node that contains itself, which YAML allows. `within` are the nodes around it.
    """
    if any(node is each for each in within):
        raise BadMessage("contains itself; accepted: a value that JSON can express")
    around = (*within, node)
    match node:
        case yaml.MappingNode():
            return {str(key.value): value_of(value, around) for key, value in node.value}
        case yaml.SequenceNode():
            return [value_of(each, around) for each in node.value]
        case yaml.ScalarNode() if not node.style and _JSON.fullmatch(node.value):
            return json.loads(node.value)
        case _:
            return str(node.value)


def message_of(value: Any, message: Message) -> Message:
    """Fills `message` from a JSON value in protobuf's JSON mapping and returns it; raises BadMessage."""
    name = message.DESCRIPTOR.full_name
    if not isinstance(value, dict) and not name.startswith(_WELL_KNOWN):
        raise BadMessage(f"{name}: {shown(json.dumps(value))} is not a JSON object")
    try:
        return json_format.ParseDict(value, message)
    except (json_format.ParseError, AttributeError, TypeError, ValueError) as error:
        raise BadMessage(f"{name}: {str(error).splitlines()[0]}") from None
