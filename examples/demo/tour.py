"""`Tour`: shows and checks step by step what the proxy does; it passes only if every step did what it says."""

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from examples.demo.process import FailedError, Process, until
from examples.demo.products import Products
from examples.demo.report import Report
from examples.demo.stack import LATENCY_MS, Stack

AVATAR = '{ user(id: "1") { avatar { uuid } } }'
UPLOAD = (
    "mutation($file: Upload!) { uploadFile(input: {file: $file, "
    'modelType: "User", modelId: "1", collectionName: "avatars"}) { success message data { uuid } } }'
)
DELETE = "mutation($id: ID!) { deleteMedia(id: $id) { success message } }"
_MANY = 50
_ROUNDS = 5
_PATIENCE = 10.0
"""Seconds; what is awaited takes milliseconds on an idle machine."""
_SAYINGS = {"hit": "Cache hit for user avatar", "miss": "Cache miss for user avatar"}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a gateway: the avatar's uuid, or None without an avatar, and how long it took."""

    uuid: str | None
    ms: float


class Tour:
    """The steps, in order. Each returns a text of what happened, or raises FailedError."""

    def __init__(self, stack: Stack, report: Report) -> None:
        self._stack, self._report = stack, report
        self._rows: list[tuple[str, ...]] = []

    async def passed(self) -> bool:
        """Runs and reports the steps until one fails, then shows the table."""
        steps: tuple[tuple[str, Callable[[], Awaitable[str | None]]], ...] = (
            ("first query is a miss", self._first),
            ("second query is a hit", self._second),
            (f"{_MANY} more queries", self._many),
            ("delete through the proxy", self._delete),
            ("upload through the proxy", self._own_upload),
            ("upload past the proxy, event", self._event),
            ("another service, by policy", self._products),
            ("Redis killed", self._redis_killed),
            ("Redis back", self._redis_back),
        )
        failed = False
        for name, step in steps:
            try:
                happened = await step()
            except (FailedError, aiohttp.ClientError, TimeoutError) as error:
                self._report.step(passed=False, text=f"{name}: {error or type(error).__name__}")
                failed = True
                break
            self._report.step(passed=None if happened is None else True, text=f"{name}: {happened or 'no RabbitMQ'}")
        self._report.say()
        self._report.table(("what", "the proxy", "with it", "without"), self._rows)
        return not failed

    async def _first(self) -> str:
        answer, straight = await self._read("miss"), await self._ask(self._stack.straight)
        _require(answer.uuid is not None and answer.uuid == straight.uuid, f"{answer.uuid} is not {straight.uuid}")
        self._row("first query", "miss", answer.ms, straight.ms)
        return f"fetched from the media service in {answer.ms:.0f} ms, and kept"

    async def _second(self) -> str:
        answer = await self._cached()
        straight = await self._ask(self._stack.straight)
        _require(answer.uuid == straight.uuid, f"{answer.uuid} is not {straight.uuid}")
        self._row("second query", "hit", answer.ms, straight.ms)
        return f"{answer.ms:.1f} ms, and the media service was not asked"

    async def _many(self) -> str:
        with_it = await self._all_hits()
        before = self._upstream_calls()
        without = statistics.median([(await self._ask(self._stack.straight)).ms for _ in range(_MANY)])
        await _within(
            5, lambda: self._upstream_calls() - before == _MANY, "the queries past the proxy were not counted"
        )
        self._row(f"{_MANY} queries, median", "hit", with_it, without)
        self._rows.append((f"{_MANY} queries, calls", "", "0", str(_MANY)))
        return f"0 calls of the media service instead of {_MANY}; {without / with_it:.0f} times faster, HTTP included"

    async def _all_hits(self) -> float:
        """Returns the median of this many queries in ms, all of them hits; a busy machine may need several rounds."""
        missed, median = 0, 0.0
        for _ in range(_ROUNDS):
            await self._cached()
            calls = self._upstream_calls()
            median = statistics.median([(await self._ask(self._stack.gateway)).ms for _ in range(_MANY)])
            missed = self._upstream_calls() - calls
            if not missed and median < LATENCY_MS:
                return median
        seen = f"{missed} of {_MANY} queries reached the media service, which takes {LATENCY_MS} ms"
        raise FailedError(f"{seen}; the median was {median:.0f} ms{self._too_busy()}")

    async def _delete(self) -> str:
        avatar = (await self._graphql(self._stack.gateway, '{ user(id: "1") { avatar { id } } }'))["user"]["avatar"]
        result = (await self._graphql(self._stack.gateway, DELETE, id=avatar["id"]))["deleteMedia"]
        _require(result["success"], result["message"])
        answer = await self._read("miss")
        _require(answer.uuid is None, "the deleted avatar was served")
        self._row("query after a delete", "miss", answer.ms, None)
        return "the next query is fresh: no avatar"

    async def _own_upload(self) -> str:
        uuid = await self._upload(self._stack.gateway)
        answer = await self._read("miss")
        _require(answer.uuid == uuid, f"the upload is {uuid}, the answer {answer.uuid}")
        self._row("query after an upload", "miss", answer.ms, None)
        return "the next query is fresh, without waiting for an event"

    async def _event(self) -> str | None:
        await self._cached()
        if self._stack.rabbitmq is None:
            return None
        mark, uuid = self._mark(), await self._upload(self._stack.straight)
        uploaded = time.monotonic()

        async def is_fresh() -> bool:
            return (await self._ask(self._stack.gateway)).uuid == uuid

        late = f"the upload was not seen through the proxy {_PATIENCE:.0f} s after its event"
        await _within(_PATIENCE, is_fresh, late)
        took = (time.monotonic() - uploaded) * 1000
        await _within(
            _PATIENCE,
            lambda: self._said("Invalidated user avatar cache", mark),
            "the answer is fresh, but no event invalidated it",
        )
        self._rows.append(("fresh after an event", "", f"{took:.0f} ms", ""))
        return f"only the event told the proxy; fresh {took:.0f} ms after the upload was answered"

    async def _products(self) -> str:
        return await Products(self._graphql, self._stack.gateway, self._stack.products).shown()

    async def _redis_killed(self) -> str:
        await self._cached()
        self._stack.redis.kill()
        straight = await self._ask(self._stack.straight)
        answers = [await self._ask(self._stack.gateway) for _ in range(5)]
        _require(straight.uuid is not None, "the media service itself has no answer")
        wrong = [answer.uuid for answer in answers if answer.uuid != straight.uuid]
        _require(not wrong, f"{straight.uuid} is right, answers were {wrong}")
        slowest = max(answer.ms for answer in answers)
        self._row("Redis killed, slowest of 5", "", slowest, straight.ms)
        return f"5 of 5 queries answered by the media service, the slowest in {slowest:.0f} ms"

    async def _redis_back(self) -> str:
        await self._stack.redis.start()
        started = time.monotonic()
        answer = await self._cached()
        took = time.monotonic() - started
        self._row("Redis back", "hit", answer.ms, None)
        return f"cached again after {took:.1f} s"

    async def _cached(self) -> Answer:
        """Repeats the query until the answer comes from the cache, without a call to the media service.

        The proxy stores an answer after it has sent it, and does not use a slow Redis; so on a busy machine the next
        query may not be a hit yet.
        """
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            calls, mark = self._upstream_calls(), self._mark()
            answer = await self._ask(self._stack.gateway)
            await self._logged(mark)
            if self._said(_SAYINGS["hit"], mark):
                _require(self._upstream_calls() == calls, "the media service was asked for a hit")
                return answer
        raise FailedError(f"it was no hit within {_PATIENCE:.0f} s{self._too_busy()}")

    async def _read(self, expected: str) -> Answer:
        """Queries through the proxy, and checks its log for the result of the read."""
        mark = self._mark()
        answer = await self._ask(self._stack.gateway)
        await self._logged(mark)
        _require(self._said(_SAYINGS[expected], mark), f"it was no {expected}; see {self._stack.proxy.log}")
        return answer

    async def _logged(self, mark: int) -> None:
        """Waits for the log line, which a thread writes after the answer."""
        otherwise = "the proxy logged nothing about the read"
        await _within(_PATIENCE, lambda: self._said("for user avatar", mark), otherwise)

    async def _ask(self, gateway: Process) -> Answer:
        started = time.perf_counter()
        avatar = (await self._graphql(gateway, AVATAR))["user"]["avatar"]
        return Answer(avatar["uuid"] if avatar else None, (time.perf_counter() - started) * 1000)

    async def _upload(self, gateway: Process) -> str:
        form = aiohttp.FormData()
        form.add_field("operations", aiohttp.JsonPayload({"query": UPLOAD, "variables": {"file": None}}))
        form.add_field("map", aiohttp.JsonPayload({"0": ["variables.file"]}))
        form.add_field("0", b"\xff\xd8 another picture \xff\xd9", filename="avatar.jpg", content_type="image/jpeg")
        result = (await self._post(gateway, data=form))["uploadFile"]
        _require(result["success"], result["message"])
        return str(result["data"]["uuid"])

    async def _graphql(self, gateway: Process, query: str, **variables: object) -> dict[str, Any]:
        return await self._post(gateway, json={"query": query, "variables": variables})

    async def _post(self, gateway: Process, **body: Any) -> dict[str, Any]:
        async with self._stack.session.post(gateway.where, **body, timeout=aiohttp.ClientTimeout(10)) as response:
            answer = await response.json()
        _require("errors" not in answer, f"{gateway.name} answered {answer}")
        data: dict[str, Any] = answer["data"]
        return data

    def _too_busy(self) -> str:
        """Adds a reason if Redis was slow: the demo's own Redis is slow only if the whole machine is."""
        slow = any("redis lost: slow" in line or "redis lost: no answer" in line for line in self._stack.proxy.lines())
        return "; this machine is too busy: Redis did not answer the proxy in time" if slow else ""

    def _upstream_calls(self) -> int:
        return sum("GetFilesByModel" in line for line in self._stack.media.lines())

    def _mark(self) -> int:
        return len(self._stack.proxy.lines())

    def _said(self, what: str, since: int) -> bool:
        return any(what in line for line in self._stack.proxy.lines()[since:])

    def _row(self, what: str, said: str, with_it: float, without: float | None) -> None:
        self._rows.append((what, said, f"{with_it:.1f} ms", "" if without is None else f"{without:.1f} ms"))


def _require(condition: object, otherwise: str) -> None:
    if not condition:
        raise FailedError(otherwise)


async def _within(timeout: float, condition: Callable[[], Awaitable[object] | object], otherwise: str) -> None:
    try:
        await until(condition, timeout)
    except TimeoutError:
        raise FailedError(otherwise) from None
