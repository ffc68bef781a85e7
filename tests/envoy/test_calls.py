"""The ASGI application, with the events that pyvoy would send and receive."""

import asyncio
from typing import Any

import pytest
from grpc import StatusCode

from proxy.calls.call import Call, Handler, Reply
from proxy.envoy.calls import Calls, Event
from proxy.envoy.departures import Departures
from proxy.envoy.framing import framed
from proxy.transport.admission import Admission
from proxy.transport.layers import Layers
from proxy.transport.limits import Limits
from tests.support.raw_upstream import Held, Recorder, answers
from tests.support.servers.waiting import until

METHOD = "/media.MediaService/GetFilesByModel"
UPLOAD = "/media.MediaService/UploadFile"
GRPC = (b"content-type", b"application/grpc")
SCOPE = {"type": "http", "client": ("127.0.0.1", 1)}
LIMITS = Limits(message_bytes=1 << 20, compressed=True, large_methods=frozenset({UPLOAD}))


class Exchange:
    """One call: the chunks of its body as they arrive, and the events of its answer."""

    def __init__(self, *chunks: bytes, headers: tuple[tuple[bytes, bytes], ...] = (), whole: bool = True) -> None:
        self.sent: list[Event] = []
        self.gone = False
        self.read = 0
        self._chunks = list(chunks)
        self._headers = [GRPC, *headers]
        self._whole = whole

    async def of(self, calls: Calls, method: str = METHOD) -> "Exchange":
        await calls(
            {
                "type": "http",
                "path": method,
                "query_string": b"",
                "headers": self._headers,
                "client": ("127.0.0.1", id(self)),
            },
            self.receive,
            self.send,
        )
        return self

    async def receive(self) -> Event:
        if self.gone or (self.read == len(self._chunks) and not self._whole):
            return {"type": "http.disconnect"}
        if self.read == len(self._chunks):
            return {"type": "http.request", "body": b"", "more_body": False}
        self.read += 1
        more = self.read < len(self._chunks) or not self._whole
        return {"type": "http.request", "body": self._chunks[self.read - 1], "more_body": more}

    async def send(self, event: Event) -> None:
        if self.gone:
            raise OSError("pyvoy says that the client is gone")
        self.sent.append(event)

    @property
    def status(self) -> bytes:
        status: bytes = dict(self.sent[-1 if "headers" in self.sent[-1] else 0]["headers"])[b"grpc-status"]
        return status


class Asgi:
    """The application with these routes, and what it reported to its observer."""

    def __init__(self, *, call_timeout: float = 60.0, limit: int = 10, **routes: Handler) -> None:
        self.recorder = Recorder()
        self.admission = Admission(limit)
        self.departures = Departures(asyncio.get_running_loop().time)
        layers = Layers(self.recorder, self.admission, LIMITS)
        handlers = {f"/media.MediaService/{name}": handler for name, handler in routes.items()}
        self.calls = Calls(handlers, layers, self.departures, call_timeout, LIMITS)


async def test_a_call_and_its_answer() -> None:
    seen: list[Call] = []
    reply = Reply(b"answer", initial_metadata=(("i", "1"),), trailing_metadata=(("x-cache", "hit"),))
    asgi = Asgi(GetFilesByModel=answers(reply, seen))
    done = await Exchange(framed(b"ask"), headers=((b"k", b"1"),)).of(asgi.calls)
    assert done.sent == [
        {"type": "http.response.start", "status": 200, "headers": [GRPC, (b"i", b"1")], "trailers": True},
        {"type": "http.response.body", "body": framed(b"answer")},
        {"type": "http.response.trailers", "headers": [(b"grpc-status", b"0"), (b"x-cache", b"hit")]},
    ]
    assert [(call.method, call.body, call.metadata) for call in seen] == [(METHOD, b"ask", (("k", "1"),))]
    assert asgi.recorder.server == [(METHOD, StatusCode.OK)]


async def test_a_failure_is_headers_alone_so_that_a_retry_policy_still_works() -> None:
    reply = Reply(code=StatusCode.NOT_FOUND, details="nowhere", trailing_metadata=(("t", "1"),))
    done = await Exchange(framed(b"")).of(Asgi(GetFilesByModel=answers(reply)).calls)
    ended = [GRPC, (b"grpc-status", b"5"), (b"grpc-message", b"nowhere"), (b"t", b"1")]
    assert done.sent == [
        {"type": "http.response.start", "status": 200, "headers": ended, "trailers": False},
        {"type": "http.response.body", "body": b""},
    ]


async def test_a_failure_after_initial_metadata_keeps_both() -> None:
    reply = Reply(code=StatusCode.NOT_FOUND, initial_metadata=(("i", "1"),))
    done = await Exchange(framed(b"")).of(Asgi(GetFilesByModel=answers(reply)).calls)
    assert [event["type"] for event in done.sent] == [
        "http.response.start",
        "http.response.body",
        "http.response.trailers",
    ]
    assert (done.sent[0]["headers"], done.sent[1]["body"]) == ([GRPC, (b"i", b"1")], b"")
    assert done.status == b"5"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
async def test_a_message_may_come_in_any_pieces(size: int) -> None:
    seen: list[Call] = []
    body = framed(bytes(range(50)))
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    done = await Exchange(*pieces).of(Asgi(GetFilesByModel=answers(Reply(b""), seen)).calls)
    assert [call.body for call in seen] == [bytes(range(50))]
    assert done.status == b"0"


@pytest.mark.parametrize("chunks", [(b"",), (framed(b"1") + framed(b"2"),), (framed(b"1"), framed(b"2"))])
async def test_none_and_two_messages_are_refused(chunks: tuple[bytes, ...]) -> None:
    seen: list[Call] = []
    done = await Exchange(*chunks).of(Asgi(GetFilesByModel=answers(Reply(b""), seen)).calls)
    headers = dict(done.sent[0]["headers"])
    assert headers[b"grpc-status"] == b"12"
    assert headers[b"grpc-message"] == b"a unary call needs exactly one request message"
    assert seen == []


async def test_a_body_is_read_no_further_than_to_see_that_it_is_too_long() -> None:
    exchange = Exchange(framed(b"1"), *(b"x" * 1000 for _ in range(1000)))
    await exchange.of(Asgi(GetFilesByModel=answers(Reply(b""))).calls)
    assert exchange.status == b"12"
    assert exchange.read == 2


async def test_deadlines_are_the_callers_else_ours_and_uploads_have_none() -> None:
    seen: list[Call] = []
    handler = answers(Reply(b""), seen)
    asgi = Asgi(GetFilesByModel=handler, UploadFile=handler, call_timeout=60)
    now = asyncio.get_running_loop().time()
    for method in (METHOD, UPLOAD):
        await Exchange(framed(b""), headers=((b"grpc-timeout", b"20S"),)).of(asgi.calls, method)
        await Exchange(framed(b"")).of(asgi.calls, method)
    await Exchange(framed(b"")).of(Asgi(GetFilesByModel=handler, call_timeout=0).calls)
    left = [None if call.deadline is None else call.deadline - now for call in seen]
    assert left == [pytest.approx(20, abs=9), pytest.approx(60, abs=9), pytest.approx(20, abs=9), None, None]


async def test_metadata_that_is_no_base64_is_told() -> None:
    asgi = Asgi(GetFilesByModel=answers(Reply(b"")))
    done = await Exchange(framed(b""), headers=((b"k-bin", b"*"),)).of(asgi.calls)
    assert done.status == b"13"


async def test_an_unknown_encoding_is_refused_before_the_message_is_read() -> None:
    exchange = Exchange(framed(b""), headers=((b"grpc-encoding", b"snappy"),))
    await exchange.of(Asgi(GetFilesByModel=answers(Reply(b""))).calls)
    assert (exchange.status, exchange.read) == (b"12", 0)


async def test_what_is_above_the_limit_is_refused_unread() -> None:
    held = Held()
    asgi = Asgi(GetFilesByModel=held, limit=1)
    first = asyncio.create_task(Exchange(framed(b"")).of(asgi.calls))
    await until(lambda: held.arrived)
    second = await Exchange(framed(b"")).of(asgi.calls)
    assert (second.status, second.read) == (b"8", 0)
    held.release.set()
    assert (await first).status == b"0"


async def test_a_caller_that_leaves_before_its_request_is_whole_is_no_error() -> None:
    seen: list[Call] = []
    asgi = Asgi(GetFilesByModel=answers(Reply(b""), seen))
    done = await Exchange(framed(b"hello")[:-1], whole=False).of(asgi.calls)
    assert (seen, done.sent) == ([], [])
    assert asgi.recorder.server == [(METHOD, StatusCode.CANCELLED)]
    assert asgi.admission.in_progress == 0


async def test_a_caller_that_leaves_cancels_the_handler() -> None:
    held = Held()
    asgi = Asgi(GetFilesByModel=held)
    watching = asyncio.create_task(asgi.departures.run())
    exchange = Exchange(framed(b""))
    call = asyncio.create_task(exchange.of(asgi.calls))
    await until(lambda: held.arrived)
    exchange.gone = True
    await asyncio.wait_for(call, 20)
    assert held.ended == ["cancelled"]
    assert asgi.recorder.server == [(METHOD, StatusCode.CANCELLED)]
    watching.cancel()
    await asyncio.wait([watching])


async def test_a_caller_that_is_gone_before_its_answer_is_no_error() -> None:
    exchange = Exchange(framed(b""))

    async def leaves(_: Call) -> Reply:
        exchange.gone = True
        return Reply(b"late")

    await exchange.of(Asgi(GetFilesByModel=leaves).calls)
    assert exchange.sent == []


async def test_the_end_of_the_interpreter_is_not_taken_for_a_caller_that_left() -> None:
    held = Held()
    call = asyncio.create_task(Exchange(framed(b"")).of(Asgi(GetFilesByModel=held).calls))
    await until(lambda: held.arrived)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_an_unexpected_exception_tells_the_caller_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(_: Call) -> Reply:
        raise RuntimeError("password=hunter2")

    done = await Exchange(framed(b"")).of(Asgi(GetFilesByModel=fails).calls)
    headers: dict[bytes, Any] = dict(done.sent[0]["headers"])
    assert headers[b"grpc-status"] == b"13"
    assert headers[b"grpc-message"] == b"internal error in the proxy; see its log"
    assert "hunter2" in caplog.text


async def test_a_message_that_will_be_too_large_is_refused_before_it_has_come() -> None:
    exchange = Exchange(b"\x00" + (LIMITS.message_bytes + 1).to_bytes(4), *(bytes(1000) for _ in range(1000)))
    await exchange.of(Asgi(GetFilesByModel=answers(Reply(b""))).calls)
    assert (exchange.status, exchange.read) == (b"8", 1)


async def test_a_large_answer_is_given_in_pieces_as_they_are_taken() -> None:
    body = bytes(range(256)) * 1000
    done = await Exchange(framed(b"")).of(Asgi(GetFilesByModel=answers(Reply(body))).calls)
    pieces = done.sent[1:-1]
    assert b"".join(piece["body"] for piece in pieces) == framed(body)
    assert max(len(piece["body"]) for piece in pieces) == 64 << 10
    assert [piece["more_body"] for piece in pieces] == [True] * (len(pieces) - 1) + [False]
