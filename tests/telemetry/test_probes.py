"""The probes as a kubelet, Prometheus and a stranger meet them, over real sockets."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from proxy.errors import StartError
from proxy.telemetry.probes import Probes
from tests.support.media_methods import media_metrics
from tests.support.raw_http import raw


class Readiness:
    """What the proxy would say of itself."""

    reason: str | None = None

    def __call__(self) -> str | None:
        return self.reason


@pytest.fixture
def readiness() -> Readiness:
    return Readiness()


@pytest.fixture
async def port(readiness: Readiness) -> AsyncIterator[int]:
    """The port of running probes."""
    metrics = media_metrics()
    metrics.request("/media.MediaService/GetFilesByModel", "hit", "redis", 0.001)
    probes = Probes("127.0.0.1:0", readiness, metrics)
    yield await probes.start()
    await probes.stop()


@pytest.fixture
async def http(port: int) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of them."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        yield session


async def test_healthz_answers_while_the_loop_turns(http: aiohttp.ClientSession, readiness: Readiness) -> None:
    readiness.reason = "draining"
    async with http.get("/healthz") as response:
        assert (response.status, await response.text()) == (200, "ok\n")


async def test_readyz_follows_readiness_and_says_why_not(http: aiohttp.ClientSession, readiness: Readiness) -> None:
    async with http.get("/readyz") as response:
        assert (response.status, await response.text()) == (200, "ok\n")
    readiness.reason = "draining: SIGTERM"
    async with http.get("/readyz") as response:
        assert (response.status, await response.text()) == (503, "draining: SIGTERM\n")


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "text/plain;version=1.0.0;escaping=allow-utf-8",
            "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
        ),
        ("application/openmetrics-text;version=nonsense", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
async def test_metrics_are_prometheus_text(http: aiohttp.ClientSession, accept: str | None, content_type: str) -> None:
    async with http.get("/metrics", headers={} if accept is None else {"Accept": accept}) as response:
        assert (response.status, response.headers["Content-Type"]) == (200, content_type)
        samples = [s for family in parse_text(await response.text()) for s in family.samples]
    hits = {s.value for s in samples if s.name == "media_cache_requests_total" and s.labels["result"] == "hit"}
    assert hits == {1.0}


async def test_metrics_are_openmetrics_if_asked(http: aiohttp.ClientSession) -> None:
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
    async with http.get("/metrics", headers={"Accept": accept}) as response:
        assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        body = await response.text()
    assert body.endswith("# EOF\n")
    families = parse_openmetrics(body)  # type: ignore[no-untyped-call]
    assert "media_cache_requests" in {family.name for family in families}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_head_answers_as_get_without_a_body(http: aiohttp.ClientSession, path: str) -> None:
    async with http.head(path) as response:
        assert response.status == 200
        assert int(response.headers["Content-Length"]) > 0
        assert await response.read() == b""


@pytest.mark.parametrize(
    "path",
    ["/", "/healthz/", "/metricsx", "/HEALTHZ", "/../metrics", "/%2e", "/readyz/x", "//healthz", "/mode", "/flush"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_any_other_path_is_not_found(port: int, path: str, method: str) -> None:
    answer = await raw(port, f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_no_other_method_is_allowed(http: aiohttp.ClientSession, path: str, method: str) -> None:
    async with http.request(method, path) as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")


async def test_no_answer_tells_a_version(port: int, readiness: Readiness) -> None:
    for path in ("/healthz", "/readyz", "/nothing"):
        answer = await raw(port, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert b"\r\nServer: media-cache-proxy\r\n" in answer
        assert b"aiohttp" not in answer
        assert b"Python" not in answer


async def test_stop_before_start_and_twice_is_fine(readiness: Readiness) -> None:
    probes = Probes("[::1]:0", readiness, media_metrics())
    await probes.stop()
    assert await probes.start() > 0
    await probes.stop()
    await probes.stop()


async def test_an_address_in_use_is_one_line_that_names_the_setting(port: int, readiness: Readiness) -> None:
    with pytest.raises(StartError) as refusal:
        await Probes(f"127.0.0.1:{port}", readiness, media_metrics()).start()
    assert str(refusal.value) == (
        f"PROBE_ADDR: cannot listen on '127.0.0.1:{port}': Address already in use; accepted: an address that is free"
    )


async def test_readiness_that_fails_is_not_ready(port: int, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> str | None:
        raise RuntimeError("hidden reason")

    probes = Probes("127.0.0.1:0", broken, media_metrics())
    answer = await raw(await probes.start(), b"GET /readyz HTTP/1.0\r\n\r\n")
    await probes.stop()
    assert answer.startswith(b"HTTP/1.0 500 ")
    assert b"hidden reason" not in answer
    assert "hidden reason" in caplog.text


async def test_what_the_transport_counts_itself_is_added_and_all_is_text() -> None:
    async def statistics() -> bytes:
        return b"# TYPE envoy_calls counter\nenvoy_calls{} 3\n"

    probes = Probes("127.0.0.1:0", Readiness(), media_metrics(), statistics)
    port = await probes.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        async with session.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}) as answer:
            assert answer.content_type == "text/plain"
            names = {family.name for family in parse_text(await answer.text())}
    await probes.stop()
    assert {"envoy_calls", "media_cache_build_info"} <= names
