"""What a media event says: the body of an AMQP message to a `MediaEvent`, or `BadEvent`. Pure.

The *envelope* is a JSON object whose `data` holds the *fields*: a JSON object, in base64 (standard or URL-safe, padded
or not), as it is, or as a JSON string. A string that opens with `{` is JSON: no base64 alphabet has that character.

Only what names the model must be right. An invalidation lost is worse than an odd event, so whatever else is missing,
of another type, or unknown leaves the event valid.
"""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from proxy.media.model import INT64, Model

MAX_BODY_BYTES = 1 << 20
"""Longer bodies are refused before anything is decoded; real ones have a few hundred bytes."""

Kind = Literal["uploaded", "deleted", "other"]
Reason = Literal["oversize", "envelope", "data", "model_type", "model_id"]

_URL_SAFE = str.maketrans("-_", "+/", " \t\r\n=")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")


class BadEvent(Exception):  # noqa: N818 -- the design's name for it
    """A message that names no model. `reason` says which part was at fault and never holds any of the payload."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class MediaEvent:
    """A file of `model` was uploaded or deleted."""

    model: Model
    model_type: str
    """As the publisher spelled it, for log lines; `model.type` is folded."""
    collection: str
    """Empty when the event names none that can be understood."""
    media_id: int | None
    """None when the event names none that can be understood."""
    kind: Kind


def kind_of(routing_key: str) -> Kind:
    """What happened, by the last word of the key: `media.event.deleted`, or our queue's name where an operator moved
    messages by hand. Any other key is `other`: the file's model is invalidated all the same."""
    match re.split(r"[.-]", routing_key)[-1]:
        case "uploaded":
            return "uploaded"
        case "deleted":
            return "deleted"
        case _:
            return "other"


def parse(body: bytes, routing_key: str) -> MediaEvent:
    """The event in an AMQP body; `BadEvent`, and nothing else, where it names no model."""
    if len(body) > MAX_BODY_BYTES:
        raise BadEvent("oversize")
    fields = _fields(_object(body, "envelope").get("data"))
    model_type = _text(fields.get("model_type"))
    if not model_type:
        raise BadEvent("model_type")
    model_id = _int64(fields.get("model_id"))
    if model_id is None:
        raise BadEvent("model_id")
    return MediaEvent(
        model=Model.of(model_type, model_id),
        model_type=model_type,
        collection=_text(fields.get("collection_name")) or _text(fields.get("collection")),
        media_id=_int64(fields.get("media_id")),
        kind=kind_of(routing_key),
    )


def _fields(data: object) -> dict[str, Any]:
    if isinstance(data, dict):
        return data
    if not isinstance(data, str):
        raise BadEvent("data")
    if data.lstrip().startswith("{"):
        return _object(data, "data")
    bare = data.translate(_URL_SAFE)
    try:
        return _object(base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True), "data")
    except (binascii.Error, ValueError):  # ValueError: a character that is not ASCII
        raise BadEvent("data") from None


def _object(text: str | bytes, part: Reason) -> dict[str, Any]:
    """A JSON object. Numbers stay exact; those of absurd size become None, which is a wrong type."""
    try:
        value = json.loads(text, parse_int=_bounded, parse_float=_exact)
    except (ValueError, RecursionError):
        raise BadEvent(part) from None
    if not isinstance(value, dict):
        raise BadEvent(part)
    return value


def _bounded(digits: str) -> int | None:
    return int(digits) if _INTEGER.fullmatch(digits) else None


def _exact(number: str) -> Decimal | None:
    try:
        return Decimal(number)
    except ArithmeticError:  # an exponent beyond what a Decimal holds
        return None


def _int64(value: object) -> int | None:
    """An int64 written as a number (`5`, `5.0`, `5e0`) or as a string of digits; None for all else."""
    if isinstance(value, str):
        value = _bounded(value)
    elif isinstance(value, Decimal):
        # The bounds first: `int` of 1e999999999 would take all memory.
        value = int(value) if INT64[0] <= value <= INT64[-1] and value == value.to_integral_value() else None
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if value in INT64 else None


def _text(value: object) -> str:
    """A string that can be encoded; else empty. JSON's escapes can spell lone surrogates, which no key can hold."""
    if not isinstance(value, str):
        return ""
    try:
        value.encode()
    except UnicodeEncodeError:
        return ""
    return value
