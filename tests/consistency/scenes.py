"""`Scene`: the service of a `World`: its policy, and its reads, answers, writes and events."""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

from examples.pb import product_pb2 as shop
from proxy.calls.call import Call
from proxy.pb import media_pb2 as pb
from proxy.policy import compiled, compiled_events
from proxy.policy.builtin.model import Model
from proxy.policy.compiling import Sources, compile_policy
from proxy.policy.descriptors import Descriptors
from proxy.policy.loading import DEFAULT_CONSTANTS, descriptors_in, load_policy
from tests.consistency.checker import FAILED, Asked, Question, failure, stamped
from tests.consistency.products import PAGE, SLUG, AskedProduct
from tests.consistency.publisher import Message
from tests.consistency.traffic import media_event, product_event
from tests.support.media_methods import GET_FILES_BY_MODEL, POLICY, UPLOAD_FILE
from tests.support.services import POLICIES

_SERVICE = "/product.ProductService/"


class Scene(Protocol):
    """One service. Everything is pure except the policy, which is read from a file."""

    @property
    def policy(self) -> compiled.Policy: ...
    @property
    def event(self) -> compiled_events.Event:
        """The policy's event for the messages."""

    def subject(self, number: int) -> str: ...
    def call(self, asked: Question) -> Call: ...
    def response(self, asked: Question, body: bytes) -> Any: ...
    def questions(self, call: Call) -> "Sequence[Question]": ...
    def stamped(self, questions: "Sequence[Question]", versions: Sequence[int]) -> bytes: ...
    def failure(self, questions: "Sequence[Question]", fetch: int) -> bytes: ...
    def write(self, number: int) -> Call: ...
    def written(self, call: Call) -> str | None: ...
    def message(self, number: int) -> Message: ...


class MediaScene:
    """Files of users."""

    policy = POLICY
    event = POLICY.events[0]

    def subject(self, number: int) -> str:
        return Model.of("user", number)

    def call(self, asked: Question) -> Call:
        assert isinstance(asked, Asked)
        return Call(GET_FILES_BY_MODEL, asked.request.SerializeToString(), asked.metadata)

    def response(self, asked: Question, body: bytes) -> Any:
        return pb.GetFilesByModelResponse.FromString(body)

    def questions(self, call: Call) -> Sequence[Question]:
        request = pb.GetFilesByModelRequest.FromString(call.body)
        caller = caller_of(call)
        return [Asked(request.model_id, request.model_type, request.collection_name, request.page, caller)]

    def stamped(self, questions: Sequence[Question], versions: Sequence[int]) -> bytes:
        (asked,), (version,) = questions, versions
        assert isinstance(asked, Asked)
        return stamped(asked, version).SerializeToString()

    def failure(self, questions: Sequence[Question], fetch: int) -> bytes:
        return failure(fetch).SerializeToString()

    def write(self, number: int) -> Call:
        request = pb.UploadFileRequest(model_type="User", model_id=number, collection_name="avatars")
        return Call(UPLOAD_FILE, request.SerializeToString())

    def written(self, call: Call) -> str | None:
        if call.method != UPLOAD_FILE:
            return None
        request = pb.UploadFileRequest.FromString(call.body)
        return Model.of(request.model_type, request.model_id)

    def message(self, number: int) -> Message:
        return media_event(Model.of("user", number), "avatars")


class ProductScene:
    """Products, read by id, by slug (with the product as a further tag), and in a list that events name."""

    def __init__(self, policy: compiled.Policy | None = None) -> None:
        self.policy = policy or product_policy()
        (self.event,) = (event for event in self.policy.events if event.queue == "products")

    def subject(self, number: int) -> str:
        return f"product/{number}"

    def call(self, asked: Question) -> Call:
        assert isinstance(asked, AskedProduct)
        return Call(f"{_SERVICE}{asked.method}", asked.request.SerializeToString(), asked.metadata)

    def response(self, asked: Question, body: bytes) -> Any:
        assert isinstance(asked, AskedProduct)
        return _kind(asked.by).FromString(body)

    def questions(self, call: Call) -> Sequence[Question]:
        caller = caller_of(call)
        match call.method.removeprefix(_SERVICE):
            case "GetProductByID":
                return [AskedProduct(shop.GetProductByIDRequest.FromString(call.body).id, "id", caller)]
            case "GetProductBySlug":
                slug = shop.GetProductBySlugRequest.FromString(call.body).slug
                return [AskedProduct(int(slug.removeprefix(SLUG)), "slug", caller)]
            case _:
                return [AskedProduct(number, "list", caller) for number in PAGE]

    def stamped(self, questions: Sequence[Question], versions: Sequence[int]) -> bytes:
        asked = [each for each in questions if isinstance(each, AskedProduct)]
        made = [
            shop.Product(id=each.number, name=each.caller, price_cents=version)
            for each, version in zip(asked, versions, strict=True)
        ]
        found: Any = shop.GetAllProductsData(products=made) if asked[0].by == "list" else made[0]
        body: bytes = _kind(asked[0].by)(success=True, data=found).SerializeToString()
        return body

    def failure(self, questions: Sequence[Question], fetch: int) -> bytes:
        (asked, *_) = questions
        assert isinstance(asked, AskedProduct)
        body: bytes = _kind(asked.by)(message=f"{FAILED}{fetch}").SerializeToString()
        return body

    def write(self, number: int) -> Call:
        return Call(f"{_SERVICE}UpdateProduct", shop.UpdateProductRequest(id=number, name="new").SerializeToString())

    def written(self, call: Call) -> str | None:
        if call.method != f"{_SERVICE}UpdateProduct":
            return None
        return self.subject(shop.UpdateProductRequest.FromString(call.body).id)

    def message(self, number: int) -> Message:
        return product_event(number, "write")


@cache
def product_policy() -> compiled.Policy:
    """The product policy of the examples."""
    return load_policy(str(POLICIES / "product.yaml"))


def policy_with(keys: str) -> compiled.Policy:
    """The same with more keys in the read by id."""
    text = (POLICIES / "product.yaml").read_text()
    read = "      - method: GetProductByID\n"
    assert read in text
    sources = Sources(lambda name: descriptors_in(POLICIES / name), lambda *_: Descriptors([]))
    return compile_policy(text.replace(read, f"{read}        {keys}\n"), "product.yaml", sources, DEFAULT_CONSTANTS)


def caller_of(call: Call) -> str:
    """The call's `authorization`, or empty."""
    return "".join(str(value) for key, value in call.metadata if key == "authorization")


def encoded(message: Message) -> bytes:
    """The body of an event as the broker delivers it."""
    return json.dumps(message.body).encode()


def _kind(by: str) -> Any:
    kinds = {"id": shop.GetProductByIDResponse, "slug": shop.GetProductBySlugResponse}
    return kinds.get(by, shop.GetAllProductsResponse)
