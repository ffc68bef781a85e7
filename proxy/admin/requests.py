"""Parses the parameters of requests to the admin server, or says in one line what is accepted.

Parameters are in the query, or in a JSON object in the body. Integers may be strings, since JavaScript has no exact
integers beyond 2^53.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import EncodeError

from proxy.calls.call import Call, Metadata
from proxy.calls.tags import UNDESCRIBED, Description
from proxy.policy.builtin.model import INT64, Model
from proxy.policy.builtin.operators import INT32, read_of
from proxy.policy.compiled import Read
from proxy.policy.tags import LONGEST_TAG

_LONGEST = 1000
_METADATA = re.compile(r"([0-9A-Za-z_.-]+)\s*[:=]\s*([ -~]*)")


class BadRequestError(Exception):
    """A parameter is not understood; the text names it, what was given, and what is accepted."""


@dataclass(frozen=True, slots=True)
class Named:
    """What a request is about: a tag, or a model, which may have several tags."""

    tags: tuple[str, ...]
    shown: Mapping[str, object]
    """What was given, for the JSON answer."""
    logged: Mapping[str, object]
    """What was given, as fields of a log line."""
    about: Description = UNDESCRIBED

    @property
    def tag(self) -> str:
        """The tag under which answers are stored."""
        return self.tags[0]


@dataclass(frozen=True, slots=True)
class Asked:
    """The call of a read that a request is about."""

    call: Call
    shown: dict[str, object] = field(default_factory=dict)
    """Its parameters without metadata, for the JSON answer."""


def parameters(query: Mapping[str, str], body: bytes, content_type: str) -> dict[str, Any]:
    """The parameters of a request; those of the body win over those of the query."""
    given: dict[str, Any] = {}
    for name, value in query.items():  # a multidict: a name may occur several times
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
        raise BadRequestError("body: is not valid JSON; accepted: a JSON object") from None
    if not isinstance(found, dict):
        raise BadRequestError("body: is not a JSON object; accepted: a JSON object")
    return {**given, **found}


def word(given: Mapping[str, Any], name: str, accepted: tuple[str, ...], also: Mapping[str, str] | None = None) -> str:
    """One of the `accepted` words, given in any case. `also` maps further spellings to words."""
    value = given.get(name)
    plain = value.strip().lower() if isinstance(value, str) else ""
    plain = (also or {}).get(plain, plain)
    if plain not in accepted:
        raise BadRequestError(_not_understood(name, value, ", ".join(accepted)))
    return plain


def seconds(given: Mapping[str, Any], name: str) -> float | None:
    """A time in seconds since 1970; None if the parameter is missing."""
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, str | float | int) and re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", str(value)):
        return float(value)
    raise BadRequestError(_not_understood(name, value, "seconds since 1970"))


def named(given: Mapping[str, Any]) -> Named:
    """What `tag` names; or `model_type` and `model_id` of the media service, with `collection` for the log."""
    if "tag" in given:
        tag = text(given, "tag")
        if not tag or len(tag.encode()) > LONGEST_TAG:
            raise BadRequestError(_not_understood("tag", given["tag"], f"a text of at most {LONGEST_TAG} bytes"))
        return Named((tag,), {"tag": tag}, {"tag": tag})
    model_type = text(given, "model_type")
    if not model_type:
        accepted = "a text, like user, with model_id; or tag, like user/123, in their place"
        raise BadRequestError(_not_understood("model_type", given.get("model_type"), accepted))
    model = Model.of(model_type, _integer(given, "model_id", INT64))
    shown: dict[str, object] = {"tag": model, "model_type": model.type, "model_id": str(model.id)}
    logged = {"model_type": model.type, "model_id": model.id}
    return Named(model.all, shown, logged, model.described(text(given, "collection")))


def service(given: Mapping[str, Any], services: Collection[str]) -> str:
    """The parameter `service`, which is one of the policy's; "" if it is missing."""
    name = text(given, "service")
    if "service" in given and name not in services:
        raise BadRequestError(_not_understood("service", given["service"], ", ".join(services)))
    return name


def text(given: Mapping[str, Any], name: str) -> str:
    """A text of at most 1000 bytes; "" if the parameter is missing."""
    value = given.get(name, "")
    try:
        if isinstance(value, str) and len(value.encode()) <= _LONGEST:
            return value
    except UnicodeEncodeError:
        pass  # half of a surrogate pair
    raise BadRequestError(_not_understood(name, value, f"a text of at most {_LONGEST} bytes"))


def asked(given: Mapping[str, Any], reads: Mapping[str, Read]) -> Asked:
    """The call that `method`, `request` and `metadata` describe, or for files of the media service `model_type`,
    `model_id`, `collection`, `page`, `per_page` and `metadata`. `reads` are the policy's reads by path.
    """
    metadata = _metadata(given.get("metadata"))
    try:
        call, shown = (_of_method if "method" in given else _of_model)(given, reads, metadata)
    except (EncodeError, ValueError):
        raise BadRequestError("the request cannot be encoded; accepted: text and numbers") from None
    if call.method not in reads:
        raise BadRequestError(
            f"model_type: the policy has no read of a model's files; accepted: method, one of the policy's reads "
            f"({_listed_names(reads)}), and request"
        )
    return Asked(call, shown)


def _of_method(
    given: Mapping[str, Any], reads: Mapping[str, Read], metadata: Metadata
) -> tuple[Call, dict[str, object]]:
    from proxy.policy.jsonish import BadMessage, message_of  # noqa: PLC0415 -- 1 MB of YAML and JSON, rarely needed

    wanted = text(given, "method").removeprefix("/")
    found = [path for path in reads if wanted in {path[1:], path.rpartition("/")[2]}]
    if len(found) != 1:
        raise BadRequestError(
            _not_understood("method", given["method"], f"a read of the policy: {_listed_names(reads)}")
        )
    request = given.get("request", {})
    try:
        value = json.loads(request or "{}") if isinstance(request, str) else request
        message = message_of(value, reads[found[0]].requests.default())
    except (ValueError, RecursionError):
        raise BadRequestError("request: is not valid JSON; accepted: the message in protobuf's JSON") from None
    except BadMessage as bad:
        raise BadRequestError(f"request: {bad}; accepted: the message in protobuf's JSON") from None
    return Call(found[0], message.SerializeToString(), metadata), {"method": found[0][1:], "request": value}


def _of_model(
    given: Mapping[str, Any], reads: Mapping[str, Read], metadata: Metadata
) -> tuple[Call, dict[str, object]]:
    model = named({name: value for name, value in given.items() if name != "tag"}).shown
    spelled, collection = text(given, "model_type"), text(given, "collection")
    page, per_page = (_integer(given, name, INT32, default=1) for name in ("page", "per_page"))
    call = read_of(spelled, int(str(model["model_id"])), collection, page, per_page, metadata)
    shown: dict[str, object] = {"model_type": spelled, "model_id": model["model_id"], "collection": collection}
    return call, {**shown, "page": page, "per_page": per_page}


def _listed_names(reads: Mapping[str, Read]) -> str:
    return ", ".join(path[1:] for path in reads) or "it has none"


def _metadata(given: Any) -> Metadata:
    """Metadata given as `key: value`, as a list of these, or as an object."""
    pairs = [f"{key}:{value}" for key, value in given.items()] if isinstance(given, dict) else _listed(given)
    found = [_METADATA.fullmatch(pair.strip()) if isinstance(pair, str) else None for pair in pairs]
    if not all(found):
        # The error never shows what was given: it may be a credential.
        raise BadRequestError("metadata: is not understood; accepted: 'key: value', or a list of these")
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
