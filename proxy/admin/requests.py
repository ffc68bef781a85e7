"""What is asked of the admin server: parameters in, values out, or one line that says what is accepted.

Parameters stand in the query, or in a JSON object as the body. Integers may be written as text, since JavaScript knows
none beyond 2^53.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import EncodeError

from proxy.calls.call import Call, Metadata
from proxy.pb.media_pb2 import GetFilesByModelRequest
from proxy.policy.builtin.model import INT64, Model

GET_FILES_BY_MODEL = "/media.MediaService/GetFilesByModel"
_INT32 = range(-(2**31), 2**31)
_LONGEST = 1000
_METADATA = re.compile(r"([0-9A-Za-z_.-]+)\s*[:=]\s*([ -~]*)")


class BadRequestError(Exception):
    """Parameters that are not understood; the text names the parameter, what was given, and what is accepted."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One GetFilesByModel call that somebody asks about."""

    model: Model
    call: Call
    shown: dict[str, object] = field(default_factory=dict)
    """Its parameters, without metadata."""


def parameters(query: Mapping[str, str], body: bytes, content_type: str) -> dict[str, Any]:
    """The parameters of a request, those of the body before those of the query."""
    given: dict[str, Any] = {}
    for name, value in query.items():  # a multidict: a name may come again
        given[name] = [*_listed(given[name]), value] if name in given else value
    if not body:
        return given
    if content_type.lower() != "application/json":
        raise BadRequestError(
            f"body: {_shown(content_type)} is not understood; accepted: application/json, or parameters in the query"
        )
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequestError("body: no JSON; accepted: a JSON object") from None
    if not isinstance(found, dict):
        raise BadRequestError("body: no JSON object; accepted: a JSON object")
    return {**given, **found}


def word(given: Mapping[str, Any], name: str, accepted: tuple[str, ...], also: Mapping[str, str] | None = None) -> str:
    """One of some words, in any case; `also` has other spellings of some of them."""
    value = given.get(name)
    plain = value.strip().lower() if isinstance(value, str) else ""
    plain = (also or {}).get(plain, plain)
    if plain not in accepted:
        raise BadRequestError(_not_understood(name, value, ", ".join(accepted)))
    return plain


def seconds(given: Mapping[str, Any], name: str) -> float | None:
    """A time in seconds since 1970; None when it is not given."""
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, str | float | int) and re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", str(value)):
        return float(value)
    raise BadRequestError(_not_understood(name, value, "seconds since 1970"))


def model(given: Mapping[str, Any]) -> Model:
    """`model_type` and `model_id`."""
    model_type = text(given, "model_type")
    if not model_type:
        raise BadRequestError(_not_understood("model_type", given.get("model_type"), "a text, like user"))
    return Model.of(model_type, _integer(given, "model_id", INT64))


def text(given: Mapping[str, Any], name: str) -> str:
    """A text; empty when it is not given."""
    value = given.get(name, "")
    try:
        if isinstance(value, str) and len(value.encode()) <= _LONGEST:
            return value
    except UnicodeEncodeError:
        pass  # half a character
    raise BadRequestError(_not_understood(name, value, f"a text of at most {_LONGEST} bytes"))


def asked(given: Mapping[str, Any]) -> Asked:
    """The call that `model_type`, `model_id`, `collection`, `page`, `per_page` and `metadata` describe."""
    whose = model(given)
    shown: dict[str, object] = {
        "model_type": text(given, "model_type"),
        "model_id": whose.id,
        "collection": text(given, "collection"),
        "page": _integer(given, "page", _INT32, default=1),
        "per_page": _integer(given, "per_page", _INT32, default=1),
    }
    request = GetFilesByModelRequest(
        model_type=text(given, "model_type"),
        model_id=whose.id,
        collection_name=text(given, "collection"),
        page=_integer(given, "page", _INT32, default=1),
        per_page=_integer(given, "per_page", _INT32, default=1),
    )
    try:
        body = request.SerializeToString()
    except EncodeError:
        raise BadRequestError("the request cannot be encoded; accepted: text and numbers") from None
    return Asked(whose, Call(GET_FILES_BY_MODEL, body, _metadata(given.get("metadata"))), shown)


def _metadata(given: Any) -> Metadata:
    """`key: value`, several of them in a list, or an object."""
    pairs = [f"{key}:{value}" for key, value in given.items()] if isinstance(given, dict) else _listed(given)
    found = [_METADATA.fullmatch(pair.strip()) if isinstance(pair, str) else None for pair in pairs]
    if not all(found):
        # Never what was given: it may be a credential.
        raise BadRequestError("metadata: not understood; accepted: key: value, several in a list")
    return tuple((match[1].lower(), match[2]) for match in found if match)  # as gRPC sends them


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def _integer(given: Mapping[str, Any], name: str, bounds: range, default: int | None = None) -> int:
    value = given.get(name, default)
    written = isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,20}\s*", value)
    number = int(value) if written else value
    if not isinstance(number, int) or isinstance(number, bool) or number not in bounds:
        bits = 64 if bounds is INT64 else 32
        raise BadRequestError(_not_understood(name, value, f"a whole number of {bits} bits"))
    return number


def _not_understood(name: str, value: Any, accepted: str) -> str:
    what = f"{_shown(value)} is not understood" if value is not None else "is missing"
    return f"{name}: {what}; accepted: {accepted}"


def _shown(value: Any) -> str:
    try:
        told = repr(value)
    except RecursionError:
        return "this"
    told = told.encode("ascii", "backslashreplace").decode()
    return told if len(told) <= 100 else f"{told[:100]}…"
