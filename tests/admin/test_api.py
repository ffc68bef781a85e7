"""The admin server as an operator, a script and a hostile web page meet it, over real sockets and a real Redis."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from proxy.admin import api as module
from proxy.errors import StartError
from proxy.telemetry import log
from tests.support.admin_parts import AdminHttp, admin_of
from tests.support.in_process import Process, Stack
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

GETS = ("/", "/stats", "/config", "/lookup", "/explain")
POSTS = ("/invalidate", "/flush", "/log-level", "/mode")
USER: dict[str, Any] = {"model_type": "user", "model_id": "1"}


@pytest_asyncio.fixture
async def stack(redis: RedisServer) -> AsyncIterator[Stack]:
    async with Stack(redis.addr) as stack:
        yield stack


@pytest_asyncio.fixture
async def process(stack: Stack) -> Process:
    return await stack.process()


@pytest_asyncio.fixture
async def admin(process: Process) -> AsyncIterator[AdminHttp]:
    async with admin_of(process) as admin:
        yield admin


@pytest.fixture
def log_level() -> Any:
    """Put back afterwards."""
    ours, root = logging.getLogger("proxy"), logging.getLogger()
    before = ours.level, root.level
    yield ours
    ours.setLevel(before[0])
    root.setLevel(before[1])


class TestAccess:
    @pytest.mark.parametrize("path", [*GETS, *POSTS, "/nothing"])
    @pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
    async def test_a_rebound_name_gets_nothing(self, admin: AdminHttp, path: str, method: str) -> None:
        answer = await admin.ask(method, path, headers={"Host": f"evil.example:{admin.port}"})
        assert answer.status == 403
        assert "Host" in answer.json["error"]

    @pytest.mark.parametrize("origin", ["http://evil.example", "null"])
    async def test_a_foreign_page_can_order_nothing(
        self, admin: AdminHttp, process: Process, stack: Stack, origin: str
    ) -> None:
        await process.read()
        for path in POSTS:
            answer = await admin.ask("POST", path, json={**USER, "mode": "off"}, headers={"Origin": origin})
            assert answer.status == 403
        assert process.core.cache.policy.mode == "on"
        assert await process.x_cache() == "hit"

    async def test_with_a_token_nothing_is_told_or_done_without_it(self, process: Process) -> None:
        async with admin_of(process, admin_token="secret") as admin:
            for path in (*GETS[1:], *POSTS, "/nothing"):
                answer = await admin.ask("POST" if path in POSTS else "GET", path)
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"] == "Bearer"
                assert "ADMIN_TOKEN" in answer.json["error"]
            right = {"Authorization": "Bearer secret"}
            assert (await admin.ask("GET", "/stats", headers=right)).status == 200
            assert (await admin.ask("POST", "/flush", headers=right)).status == 200
            wrong = {"Authorization": "Bearer secreT"}
            assert (await admin.ask("POST", "/flush", headers=wrong)).status == 401

    async def test_the_page_itself_holds_nothing_and_is_open(self, process: Process) -> None:
        async with admin_of(process, admin_token="secret") as admin:
            answer = await admin.get("/")
            assert answer.status == 200
            assert "secret" not in answer.text

    async def test_an_address_that_others_reach_without_a_token_is_a_warning(
        self, process: Process, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with admin_of(process, admin_addr="0.0.0.0:0"):
            assert "set ADMIN_TOKEN" in caplog.text
        caplog.clear()
        async with admin_of(process, admin_addr="0.0.0.0:0", admin_token="secret"):
            assert "ADMIN_TOKEN" not in caplog.text


class TestHttp:
    @pytest.mark.parametrize("path", ["/nothing", "/stats/", "/STATS", "//stats", "/invalidate/1"])
    async def test_an_unknown_path_is_404_and_says_which_there_are(self, admin: AdminHttp, path: str) -> None:
        answer = await admin.get(path)
        assert answer.status == 404
        for known in (*GETS, *POSTS):
            assert known in answer.json["error"]

    @pytest.mark.parametrize("path", POSTS)
    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
    async def test_what_changes_anything_is_post_only(
        self, admin: AdminHttp, process: Process, path: str, method: str
    ) -> None:
        await process.read()
        answer = await admin.ask(method, path, params={**USER, "mode": "off", "level": "debug"})
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        assert process.core.cache.policy.mode == "on"
        assert await process.x_cache() == "hit"

    @pytest.mark.parametrize("path", ["/", "/stats", "/config", "/lookup"])
    async def test_what_tells_is_read_only(self, admin: AdminHttp, path: str) -> None:
        answer = await admin.ask("POST", path)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")

    @pytest.mark.parametrize("path", ["/", "/stats", "/config"])
    async def test_head_is_get_without_the_body(self, admin: AdminHttp, path: str) -> None:
        answer = await admin.ask("HEAD", path)
        assert (answer.status, answer.text) == (200, "")

    async def test_a_large_body_is_refused(self, admin: AdminHttp) -> None:
        answer = await admin.ask("POST", "/invalidate", data=b" " * 20_000)
        assert answer.status == 413
        assert "16384 bytes" in answer.json["error"]

    async def test_a_body_that_does_not_come_is_not_waited_for(
        self, admin: AdminHttp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_BODY_WITHIN", 0.05)
        reader, writer = await asyncio.open_connection("127.0.0.1", admin.port)
        writer.write(b"POST /flush HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n")
        async with asyncio.timeout(10):
            assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
        writer.close()

    @pytest.mark.parametrize("path", ["/stats", "/nothing", "/"])
    async def test_answers_are_not_kept_nor_guessed_at(self, admin: AdminHttp, path: str) -> None:
        headers = (await admin.get(path)).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Server"] == "media-cache-proxy"
        assert "Access-Control-Allow-Origin" not in headers

    async def test_an_exception_is_a_500_for_who_asked_and_nobody_else(
        self, admin: AdminHttp, process: Process, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def broken(*_: object) -> None:
            raise RuntimeError("hidden reason")

        monkeypatch.setattr(module, "looked_up", broken)
        answer = await admin.get("/lookup", **USER)
        assert answer.status == 500
        assert "hidden reason" not in answer.text
        assert "hidden reason" in caplog.text
        assert (await admin.get("/stats")).status == 200
        assert await process.x_cache() == "miss"

    async def test_an_address_in_use_names_the_setting(self, admin: AdminHttp, process: Process) -> None:
        with pytest.raises(
            StartError, match=r"^ADMIN_ADDR: cannot listen on '127\.0\.0\.1:[0-9]+': Address already in use"
        ):
            async with admin_of(process, admin_addr=f"127.0.0.1:{admin.port}"):
                pass


class TestStats:
    async def test_it_counts_what_callers_were_answered(self, admin: AdminHttp, process: Process) -> None:
        for _ in range(4):
            await process.read()
        told = (await admin.get("/stats")).json
        assert told["results"] == {"hit": 3, "stale": 0, "coalesced": 0, "miss": 1, "bypass": 0, "failure": 0}
        assert told["hit_ratio"] == told["last_5_minutes"]["hit_ratio"] == 0.75
        assert (told["mode"], told["unready"], told["series"]) == ("on", None, [])
        assert told["dependencies"]["redis"]["up"] is True

    async def test_points_come_when_asked_for_and_each_once(self, admin: AdminHttp, process: Process) -> None:
        await process.read()
        told = (await admin.get("/stats", since="0")).json
        assert told["series"][-1]["results"]["miss"] == 1
        later = (await admin.get("/stats", since=str(told["now"] + 1000))).json
        assert len(later["series"]) == 1  # the step that has not ended yet

    async def test_the_last_invalidations_say_when_and_by_what(self, admin: AdminHttp, process: Process) -> None:
        await process.event()
        await process.upload("Product", 2**53 + 1)
        await admin.post("/flush")
        told = (await admin.get("/stats")).json["invalidations"]
        assert [(each["model_type"], each["model_id"], each["source"]) for each in told["last"]] == [
            (None, None, "flush"),
            ("product", str(2**53 + 1), "write"),
            ("user", "1", "event"),
        ]
        assert told["by_source"]["event"] == 1
        assert told["pending"] == 0

    async def test_a_wrong_since_is_400_with_what_is_accepted(self, admin: AdminHttp) -> None:
        answer = await admin.get("/stats", since="yesterday")
        assert answer.status == 400
        assert answer.json["error"] == "since: 'yesterday' is not understood; accepted: seconds since 1970"


class TestConfig:
    async def test_each_setting_has_its_value_and_source(self, admin: AdminHttp) -> None:
        told = (await admin.get("/config")).json
        assert told["CACHE_TTL"] == {"value": "1h", "source": "environment"}
        assert told["CACHE_NAMESPACE"] == {"value": "media", "source": "default"}

    async def test_no_secret_is_told(self, process: Process) -> None:
        hidden: dict[str, Any] = {"rabbitmq_addr": ("amqp://user:hidden@broker:5672/",), "admin_token": "hidden"}
        async with admin_of(process, **hidden) as admin:
            answer = await admin.ask("GET", "/config", headers={"Authorization": "Bearer hidden"})
        assert answer.status == 200
        assert "hidden" not in answer.text
        assert answer.json["RABBITMQ_ADDR"]["value"] == "amqp://***@broker:5672/"
        assert answer.json["ADMIN_TOKEN"]["value"] == "***"

    async def test_what_was_switched_here_says_so(self, admin: AdminHttp, log_level: logging.Logger) -> None:
        await admin.post("/mode", mode="shadow")
        await admin.post("/log-level", level="debug")
        told = (await admin.get("/config")).json
        assert told["CACHE_MODE"] == {"value": "shadow", "source": "admin"}
        assert told["LOG_LEVEL"] == {"value": "debug", "source": "admin"}


class TestLookup:
    async def test_it_lists_what_is_stored(self, admin: AdminHttp, process: Process) -> None:
        await process.read("User", 1, "avatars", per_page=10)
        told = (await admin.get("/lookup", model_type="USER", model_id="1")).json
        (entry,) = told["entries"]
        assert (entry["collection"], entry["page"], entry["per_page"], entry["state"]) == ("avatars", 1, 10, "fresh")
        assert entry["bytes"] > 0
        assert (told["tier"], told["model_type"], told["model_id"]) == ("redis", "user", "1")
        assert told["last_invalidation"] is None

    async def test_an_unknown_model_is_an_empty_answer(self, admin: AdminHttp) -> None:
        answer = await admin.get("/lookup", model_type="no such", model_id=str(-(2**63)))
        assert (answer.status, answer.json["entries"], answer.json["problem"]) == (200, [], "")

    async def test_it_says_when_the_model_was_last_invalidated(self, admin: AdminHttp, process: Process) -> None:
        await process.event()
        told = (await admin.get("/lookup", **USER)).json
        assert told["last_invalidation"]["source"] == "event"

    async def test_without_redis_it_says_so(self, stack: Stack) -> None:
        async with admin_of(await stack.process(redis_addr="")) as admin:
            told = (await admin.get("/lookup", **USER)).json
            assert told["entries"] == []
            assert "REDIS_ADDR is empty" in told["problem"]
            assert (await admin.post("/invalidate", **USER)).json["done"] is True
            assert (await admin.post("/flush")).json["done"] is True
            assert (await admin.get("/stats")).json["dependencies"] == {}


class TestExplain:
    async def test_it_answers_get_and_post_alike(self, admin: AdminHttp, process: Process) -> None:
        await process.read("user", 1, "avatars", per_page=1)
        call = {**USER, "collection": "avatars", "page": "1", "per_page": "1"}
        by_get, by_post = await admin.get("/explain", **call), await admin.post("/explain", **call)
        assert by_get.json["result"] == by_post.json["result"] == "hit"
        assert by_get.json["request"] == {**USER, "collection": "avatars", "page": 1, "per_page": 1}

    async def test_metadata_may_stand_in_the_query_several_times(self, admin: AdminHttp) -> None:
        query = [*USER.items(), ("metadata", "authorization: x"), ("metadata", "cache-control: no-store")]
        assert (await admin.ask("GET", "/explain", params=query)).json["result"] == "bypass"


@pytest.mark.parametrize("path", ["/lookup", "/explain", "/invalidate"])
@pytest.mark.parametrize("given", [{}, {"model_type": "user"}, {"model_type": "user", "model_id": "soon"}])
async def test_a_model_that_is_not_understood_is_400_with_what_is_accepted(
    admin: AdminHttp, path: str, given: dict[str, str]
) -> None:
    answer = await admin.ask("POST" if path == "/invalidate" else "GET", path, params=given)
    assert answer.status == 400
    assert "; accepted: " in answer.json["error"]


class TestInvalidate:
    async def test_all_of_the_model_goes_whatever_collection_is_named(self, admin: AdminHttp, process: Process) -> None:
        for collection in ("avatars", "images"):
            await process.read("User", 1, collection)
        await process.read("User", 2)
        answer = await admin.post("/invalidate", **USER, collection="avatars")
        assert (answer.status, answer.json) == (200, {"tag": "user/1", **USER, "done": True})
        assert [await process.x_cache("User", 1, name) for name in ("avatars", "images")] == ["miss", "miss"]
        assert await process.x_cache("User", 2) == "hit"
        assert process.metric("media_cache_invalidations_total", source="admin") == 1

    async def test_parameters_may_stand_in_the_query(self, admin: AdminHttp, process: Process) -> None:
        await process.read()
        assert (await admin.ask("POST", "/invalidate", params=USER)).status == 200
        assert await process.x_cache() == "miss"

    async def test_redis_away_it_is_kept_and_done_later(
        self, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_CONFIRM_WITHIN", 0.05)
        async with Stack(own_redis.addr, hurried=True) as stack:
            process = await stack.process()
            async with admin_of(process) as admin:
                own_redis.kill()
                await until(lambda: not process.usable(), "Redis to be missed")
                for path, given in (("/invalidate", USER), ("/flush", {})):
                    answer = await admin.post(path, **given)
                    assert (answer.status, answer.json["done"]) == (202, False)
                    assert "Redis has not confirmed it yet" in answer.json["note"]
                assert (await admin.get("/lookup", **USER)).status == 503
                stats = (await admin.get("/stats")).json
                assert stats["invalidations"]["pending"] == 2
                assert stats["dependencies"]["redis"]["up"] is False
                assert stats["dependencies"]["redis"]["reason"]
                await own_redis.start()

                async def told() -> bool:
                    last = (await admin.get("/stats")).json["invalidations"]["last"]
                    return {each["source"] for each in last} == {"admin", "flush"}

                await until(told, "both to be done")

    async def test_those_that_wait_are_bounded(self, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_CONFIRM_WITHIN", 0.0)
        monkeypatch.setattr(module, "_MOST_WAITING", 2)
        async with Stack(own_redis.addr, hurried=True) as stack:
            process = await stack.process()
            async with admin_of(process) as admin:
                own_redis.kill()
                await until(lambda: not process.usable(), "Redis to be missed")
                answers = [await admin.post("/invalidate", model_type="user", model_id=number) for number in range(3)]
                assert [answer.status for answer in answers] == [202, 202, 503]


async def test_flush_drops_every_model(admin: AdminHttp, process: Process) -> None:
    for number in range(5):
        await process.read("User", number)
    answer = await admin.post("/flush")
    assert (answer.status, answer.json) == (200, {"done": True})
    assert [await process.x_cache("User", number) for number in range(5)] == ["miss"] * 5


class TestLogLevel:
    async def test_it_changes_at_once(self, admin: AdminHttp, log_level: logging.Logger) -> None:
        assert (await admin.post("/log-level", level="Debug")).json == {"level": "debug", "before": "info"}
        assert log_level.level == log.LEVELS["debug"]
        assert (await admin.get("/stats")).json["log_level"] == "debug"
        assert (await admin.post("/log-level", level="warn")).json == {"level": "warning", "before": "debug"}

    async def test_another_word_is_400_with_what_is_accepted(self, admin: AdminHttp) -> None:
        answer = await admin.post("/log-level", level="loud")
        assert answer.status == 400
        assert answer.json["error"] == "level: 'loud' is not understood; accepted: debug, info, warning, error"


class TestMode:
    async def test_off_forwards_at_once_and_on_serves_again(self, admin: AdminHttp, process: Process) -> None:
        await process.read()
        assert (await admin.post("/mode", mode="off")).json == {"mode": "off", "before": "on"}
        assert await process.x_cache() == "bypass"
        assert (await admin.post("/mode", mode="on")).json == {"mode": "on", "before": "off"}
        assert await process.x_cache() == "hit"

    async def test_what_changed_while_it_was_off_is_not_served_stale(
        self, admin: AdminHttp, process: Process, stack: Stack
    ) -> None:
        await process.read()
        await admin.post("/mode", mode="off")
        await process.upload()
        await admin.post("/mode", mode="on")
        assert len((await process.read()).ids) == 1

    async def test_shadow_forwards_and_keeps_the_cache(self, admin: AdminHttp, process: Process) -> None:
        await admin.post("/mode", mode="shadow")
        assert await process.x_cache() == "bypass"
        await admin.post("/mode", mode="on")
        assert await process.x_cache() == "hit"

    async def test_another_word_is_400_with_what_is_accepted(self, admin: AdminHttp, process: Process) -> None:
        answer = await admin.post("/mode", mode="fast")
        assert (answer.status, process.core.cache.policy.mode) == (400, "on")
        assert answer.json["error"] == "mode: 'fast' is not understood; accepted: on, off, shadow"


async def test_stop_ends_connections_and_waiting_orders(process: Process) -> None:
    async with admin_of(process) as admin:
        reader, writer = await asyncio.open_connection("127.0.0.1", admin.port)
        writer.write(b"GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    assert json.loads((await reader.read()).partition(b"\r\n\r\n")[2])["mode"] == "on"
    writer.close()
    with pytest.raises(OSError, match="Connect"):
        await asyncio.open_connection("127.0.0.1", admin.port)
