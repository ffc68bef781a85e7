"""`Traffic`: what a run reads and writes: files with the built-in policy, or products with a policy of their own.

Some models or products change all the time, so that reads, fills and invalidations overtake each other. Others change
so rarely that no later event makes up for a missed one.
"""

import base64
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import grpc.aio

from examples.pb import product_pb2 as shop
from examples.pb.product_pb2_grpc import ProductServiceStub
from proxy.pb import media_pb2 as pb
from proxy.pb.media_pb2_grpc import MediaServiceStub
from proxy.policy.builtin.model import Model
from tests.consistency.checker import Asked, Checker, Question
from tests.consistency.origin import Failing, StampedMedia
from tests.consistency.products import PAGE, AskedProduct, StampedProducts, policy_in
from tests.consistency.publisher import Message
from tests.support.servers.upstream import FakeMediaServer

BUSY, QUIET = range(1, 7), range(101, 221)

Committed = Callable[[str, int, str], None]
"""Called for every commit, with its subject, the new version, and the writer's name for the write."""
Call = Callable[..., Any]


class Origin(Protocol):
    """A service that can be made to fail."""

    failing: Failing


class Traffic(Protocol):
    """The traffic of one run. A read is judged as the answers to one or several questions."""

    @property
    def origin(self) -> Origin: ...
    @property
    def server(self) -> Any:
        """A context manager whose `addr` is where the service listens."""

    @property
    def settings(self) -> dict[str, str]:
        """The settings of the proxies."""

    @property
    def lines(self) -> frozenset[str]:
        """The log messages that together say that an invalidation was applied."""

    def stub(self, channel: grpc.aio.Channel) -> Any: ...
    def subject(self, number: int) -> str: ...
    def commit(self, number: int, name: str) -> None: ...
    def message(self, subject: str, name: str) -> Message: ...
    def drawn(self, random: random.Random, awake: Sequence[int]) -> "Sequence[Question]": ...
    def read(self, stub: Any, asked: Question) -> tuple[Call, Any]: ...
    def write(self, stub: Any, number: int, name: str) -> tuple[Call, Any]: ...
    def every(self) -> "list[Sequence[Question]]": ...
    def close(self) -> None: ...


class MediaTraffic:
    """Reads of files, uploads."""

    lines = frozenset({"Invalidated model media cache"})

    def __init__(self, checker: Checker, random: random.Random, committed: Committed) -> None:
        self.origin = StampedMedia(checker, random, committed)
        self.server = FakeMediaServer(self.origin)
        self.settings: dict[str, str] = {}

    def stub(self, channel: grpc.aio.Channel) -> Any:
        return MediaServiceStub(channel)

    def subject(self, number: int) -> str:
        return Model.of("User", number)

    def commit(self, number: int, name: str) -> None:
        self.origin.commit(Model.of("User", number), name)

    def message(self, subject: str, name: str) -> Message:
        return media_event(Model(subject), name)

    def drawn(self, random: random.Random, awake: Sequence[int]) -> Sequence[Question]:
        if random.random() < 0.5:
            return [Asked(random.choice(awake))]
        page, caller = random.choice((1, 1, 2)), random.choice(("", "", "ann", "ben"))
        return [Asked(random.choice(BUSY), page=page, caller=caller)]

    def read(self, stub: Any, asked: Question) -> tuple[Call, Any]:
        assert isinstance(asked, Asked)
        return stub.GetFilesByModel, asked.request

    def write(self, stub: Any, number: int, name: str) -> tuple[Call, Any]:
        request = pb.UploadFileRequest(content=b"x", model_type="User", model_id=number, collection_name=name)
        return stub.UploadFile, request

    def every(self) -> list[Sequence[Question]]:
        busy = [Asked(each, page=page, caller=caller) for each in BUSY for page in (1, 2) for caller in ("", "ann")]
        return [[asked] for asked in [*busy, *(Asked(each) for each in QUIET)]]

    def close(self) -> None:
        """Does nothing, because there are no files to remove."""


class ProductTraffic:
    """Reads by id, by slug (with the product as a further tag) and of a list; and updates."""

    lines = frozenset({"Invalidated product cache", "Invalidated products cache"})

    def __init__(self, checker: Checker, random: random.Random, committed: Committed) -> None:
        self.origin = StampedProducts(checker, random, committed)
        self.server = self.origin
        self._directory = TemporaryDirectory(prefix="products-")
        self.settings = {"POLICY": policy_in(Path(self._directory.name), self.origin.addr)}

    def stub(self, channel: grpc.aio.Channel) -> Any:
        return ProductServiceStub(channel)

    def subject(self, number: int) -> str:
        return f"product/{number}"

    def commit(self, number: int, name: str) -> None:
        self.origin.commit(number, name)

    def message(self, subject: str, name: str) -> Message:
        return product_event(int(subject.partition("/")[2]), name)

    def drawn(self, random: random.Random, awake: Sequence[int]) -> Sequence[Question]:
        if random.random() < 0.2:
            return self._page(random.choice(("", "ann")))
        by, caller = random.choice(("id", "slug", "slug")), random.choice(("", "", "ann", "ben"))
        if random.random() < 0.5:
            return [AskedProduct(random.choice(awake), by)]
        return [AskedProduct(random.choice(BUSY), by, caller)]

    def read(self, stub: Any, asked: Question) -> tuple[Call, Any]:
        assert isinstance(asked, AskedProduct)
        return getattr(stub, asked.method), asked.request

    def write(self, stub: Any, number: int, name: str) -> tuple[Call, Any]:
        return stub.UpdateProduct, shop.UpdateProductRequest(id=number, name=name)

    def close(self) -> None:
        self._directory.cleanup()

    def every(self) -> list[Sequence[Question]]:
        each = [AskedProduct(number, by) for number in (*BUSY, *QUIET) for by in ("id", "slug")]
        return [self._page(""), self._page("ann"), *([asked] for asked in each)]

    def _page(self, caller: str) -> Sequence[Question]:
        """All products of the list."""
        return [AskedProduct(number, "list", caller) for number in PAGE]


TRAFFIC: dict[str, Callable[[Checker, random.Random, Committed], Traffic]] = {
    "media": MediaTraffic,
    "product": ProductTraffic,
}


def media_event(model: Model, collection: str) -> Message:
    """The event of an upload."""
    inner = {"model_type": model.type, "model_id": model.id, "collection_name": collection}
    return Message("media.event.uploaded", {"ownerId": str(model.id), "data": _base64(inner)})


def product_event(number: int, name: str) -> Message:
    """The event of an update."""
    data = _base64({"product_id": number, "name": name})
    return Message("product.event.updated", {"data": data}, "damar.exchange")


def _base64(inner: dict[str, Any]) -> str:
    return base64.b64encode(json.dumps(inner).encode()).decode()
