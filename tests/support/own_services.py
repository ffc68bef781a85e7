"""`Shop`: two services of a user's own, orders and stock, which only their protos and a policy describe.

They use the features of protobuf: ids in nested messages, lists, oneofs, enums, maps, wrappers as complete answers, and
a streaming method.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf import json_format
from google.protobuf.message import Message
from grpc_tools import protoc  # type: ignore[import-untyped]  # it has no types

from proxy.policy.descriptors import Descriptors

PROTOS = Path(__file__).parent / "orders"
ORDERS, STOCK = "acme.orders.v1.Orders", "acme.stock.Stock"
Answer = Callable[[Any], Any]


class Shop:
    """Needs a directory for its policy and descriptors. `answers` are by method; each call is counted."""

    def __init__(self, directory: Path) -> None:
        file = directory / "orders.binpb"
        sources = ["orders.proto", "stock.proto"]
        well_known = Path(protoc.__file__).parent / "_proto"
        told = ["", f"-I{PROTOS}", f"-I{well_known}", "--include_imports", f"--descriptor_set_out={file}", *sources]
        assert protoc.main(told) == 0
        self.descriptors = Descriptors.of(file.read_bytes())
        self.policy = directory / "policy.yaml"
        self.answers: dict[str, Any] = {}
        self.status: dict[str, grpc.StatusCode] = {}
        self.calls: Counter[str] = Counter()

    def message(self, name: str, **fields: Any) -> Message:
        """Returns a message type by its full name."""
        return json_format.ParseDict(fields, self.descriptors.message(name)())

    def method(self, channel: grpc.aio.Channel, path: str, **options: Any) -> Any:
        """Returns a method of a caller's channel: it takes a request's fields, and returns the answer and `x-cache`."""
        service, _, name = path.rpartition("/")
        known = self.descriptors.methods(service)[name]
        ask: Any = channel.unary_unary(known.path, request_serializer=lambda message: message.SerializeToString())

        async def call(**fields: Any) -> tuple[Any, str]:
            made = ask(self.message(known.request.full_name, **fields), timeout=60)
            answer = self.descriptors.message(known.response.full_name).FromString(await made)
            shown = json_format.MessageToDict(answer, preserving_proto_field_name=True)
            return shown, str(dict(await made.trailing_metadata()).get("x-cache", ""))

        return call

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Its address, which is also in the policy beside it."""
        server = grpc.aio.server()
        for service in (ORDERS, STOCK):
            methods = self.descriptors.methods(service)
            handlers = {name: self._handler(name) for name, method in methods.items() if method.unary}
            streams = {name: self._stream(name) for name, method in methods.items() if not method.unary}
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {**handlers, **streams}),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        address = f"127.0.0.1:{port}"
        self.policy.write_text((PROTOS / "policy.yaml").read_text().replace("UPSTREAM", address))
        try:
            yield address
        finally:
            await server.stop(None)

    def _answer(self, name: str) -> bytes:
        service = STOCK if name in self.descriptors.methods(STOCK) else ORDERS
        kind = self.descriptors.methods(service)[name].response.full_name
        given = self.answers.get(name, {})
        return json_format.ParseDict(given, self.descriptors.message(kind)()).SerializeToString()

    def _handler(self, name: str) -> Any:
        async def answer(_: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
            self.calls[name] += 1
            if name in self.status:
                await context.abort(self.status[name], "as told")
            return self._answer(name)

        return grpc.unary_unary_rpc_method_handler(answer)

    def _stream(self, name: str) -> Any:
        async def answer(_: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[bytes]:
            self.calls[name] += 1
            for each in [self._answer(name)] * 2:
                yield each

        return grpc.unary_stream_rpc_method_handler(answer)
