"""`media.yaml` as plain callables: the policy that is served if POLICY is empty, as it nearly always is.

The CEL interpreter and the YAML parser would take 5 MB and 40 ms of each start. Tests compare this module with the
compiled media.yaml, part by part and with generated messages (tests/policy/builtin). People, `policy check` and the
like read the file.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import Message

from proxy.calls.reads import Limits
from proxy.calls.tags import Description
from proxy.pb import media_pb2
from proxy.policy.bodies import declared_fields, envelope_body
from proxy.policy.builtin.model import described
from proxy.policy.compiled import LookUp, Policy, Read, Service, Write
from proxy.policy.compiled_events import Event
from proxy.policy.descriptors import Descriptors
from proxy.policy.failures import ExpressionError
from proxy.policy.messages import Messages
from proxy.policy.spellings import is_plain
from proxy.policy.tags import bounded_aliases, checked, checked_all
from proxy.policy.texts import casefolded, foldings

_FILE: Final = media_pb2.DESCRIPTOR
_SERVICE: Final = _FILE.services_by_name["MediaService"]
_NAME: Final[str] = _SERVICE.full_name
_DIGEST = bytes.fromhex("0d77b34d9711e98b4821e34c12b51adc")
_OF_AN_UPLOAD = ["request.model_type", "request.model_id", "request.collection_name"]
_BYPASS = (
    "!request.model_type.isPlain() || CACHE_BYPASS_PER_PAGE > 0 && "
    "(request.per_page == 0 ? 20 : request.per_page) >= CACHE_BYPASS_PER_PAGE"
)
"""The expression of media.yaml, which tells operators why a read is forwarded."""
_PER_PAGE = 20
"""What a `per_page` of 0 means to the media service."""


def media_policy(constants: Mapping[str, int]) -> Policy:
    """The policy that is served if POLICY is empty. `constants` must have CACHE_BYPASS_PER_PAGE."""
    writes = (_upload(), _delete())
    read = _read(constants["CACHE_BYPASS_PER_PAGE"])
    service = Service(
        name=_NAME,
        upstream="",
        upstream_tls=None,
        address_variable="MEDIA_SERVICE_ADDR",
        unary=tuple(f"/{_NAME}/{method.name}" for method in _SERVICE.methods),
        reads={read.path: read},
        writes={write.path: write for write in writes},
        descriptors=Descriptors([FileDescriptorProto.FromString(_FILE.serialized_pb)]),
        builtin=True,
    )
    kinds = frozenset({"uploaded", "deleted"})
    return Policy({_NAME: service}, tuple(_event(kind, kinds) for kind in ("uploaded", "deleted")))


def _read(most: int) -> Read:
    method = _SERVICE.methods_by_name["GetFilesByModel"]

    def bypasses(request: Any) -> bool:
        return not is_plain(request.model_type) or (most > 0 and (request.per_page or _PER_PAGE) >= most)

    def stores(_: Message, response: Any) -> bool:
        return bool(response.success)

    def aliases(_: Message, response: Any) -> tuple[str, ...]:
        return bounded_aliases(str(file.id) for file in response.data.media if file.id)

    def presigned_urls(response: Any) -> list[str]:
        return [file.presigned_url for file in response.data.media]

    def describe(request: Any) -> Description:
        return _described(request, request.model_type, request.collection_name)

    return Read(
        service=_NAME,
        name=method.name,
        path=f"/{_NAME}/{method.name}",
        digest=_DIGEST,
        said={"bypass": _BYPASS},
        unfit="success is false, or a presigned URL in it does not say when it expires",
        limits=Limits(keyed=False),
        requests=Messages(method.input_type),
        responses=Messages(method.output_type),
        judged=Messages(method.output_type, "response", ["response.success"]),
        tag_of=_tag_of,
        bypasses=bypasses,
        stores=stores,
        aliases=aliases,
        further_tags=None,
        presigned_urls=presigned_urls,
        describe=describe,
    )


def _upload() -> Write:
    method = _SERVICE.methods_by_name["UploadFile"]

    def describe(request: Any) -> Description:
        return _described(request, casefolded(request.model_type), request.collection_name)

    return Write(
        service=_NAME,
        name=method.name,
        path=f"/{_NAME}/{method.name}",
        said={},
        large=True,
        flush_reason=f"{_NAME}/{method.name} named no known tag",
        requests=Messages(method.input_type, "request", _OF_AN_UPLOAD),
        invalidates=_tags,
        alias=lambda _: "",
        look_up=None,
        succeeded=_succeeded(method.output_type),
        announced=True,
        describe=describe,
    )


def _delete() -> Write:
    method, found_by = _SERVICE.methods_by_name["DeleteFile"], _SERVICE.methods_by_name["GetFileByID"]
    answers = Messages(found_by.output_type)

    def alias(request: Any) -> str:
        return str(request.id)

    def request(write: Any) -> bytes:
        return media_pb2.GetFileByIDRequest(id=write.id).SerializeToString()

    def tags(_: Message, answer: bytes) -> tuple[str, ...]:
        file: Any = answers.readable(answer)
        return _tags(file.data) if file.data.model_type else ()

    def describe(answer: bytes) -> dict[str, str]:
        file: Any = answers.readable(answer)
        return {"collection": file.data.collection_name}

    return Write(
        service=_NAME,
        name=method.name,
        path=f"/{_NAME}/{method.name}",
        said={},
        large=False,
        flush_reason="a file was deleted whose model is not known",
        requests=Messages(method.input_type, "request", ["request.id"]),
        invalidates=lambda _: (),
        alias=alias,
        look_up=LookUp(
            path=f"/{_NAME}/{found_by.name}",
            request=request,
            tags=tags,
            describe=describe,
            responses=answers,
        ),
        succeeded=_succeeded(method.output_type),
        announced=True,
        describe=lambda _: Description(),
    )


class _Body:
    """The value of `event` for a media event."""

    __slots__ = ("collection", "collection_name", "media_id", "model_id", "model_type")

    def __init__(self) -> None:
        self.model_type = self.collection_name = self.collection = ""
        self.model_id = self.media_id = 0


_FIELDS = {
    "model_type": "text",
    "model_id": "int64",
    "collection_name": "text?",
    "collection": "text?",
    "media_id": "int64?",
}


def _event(kind: str, kinds: frozenset[str]) -> Event:
    def describe(event: Any, _: str) -> Description:
        return _described(event, casefolded(event.model_type), event.collection_name or event.collection)

    return Event(
        exchange="damar.events",
        routing_keys=(f"media.event.{kind}",),
        queue=kind,
        said={},
        flushes=False,
        share="",
        kinds=kinds,
        form="envelope",
        message=None,
        body=declared_fields(envelope_body, _Body, _FIELDS),
        invalidates=_tags,
        describe=describe,
    )


def _tag_of(request: Any) -> str:
    return checked(_tag(casefolded(request.model_type), request))


def _tag(folded: str, of: Any) -> str:
    return f"{folded}/{of.model_id}"


def _tags(of: Any) -> tuple[str, ...]:
    """The tags of a request, a file or an event: one for each folding of its type."""
    return checked_all(_tag(folded, of) for folded in foldings(of.model_type))


def _described(of: Any, model_type: str, collection: str) -> Description:
    return described(casefolded(of.model_type), model_type, of.model_id, collection)


def _succeeded(answer: Any) -> Callable[[bytes, bool], bool]:
    return partial(_success, Messages(answer, "response", ["response.success"]))


def _success(answers: Messages, body: bytes, unreadable: bool) -> bool:
    try:
        answer: Any = answers.readable(body)
    except ExpressionError:
        return unreadable
    return bool(answer.success)
