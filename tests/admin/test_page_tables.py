"""The admin page with much to show: long names, many rows, a phone's width, refusals, settings; and what takes long."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest_asyncio

from tests.support.calling import Gateway
from tests.support.servers.browser import Browser
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until

LONG = "n" * 100


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[FakeMediaServer]:
    async with FakeMediaServer() as upstream:
        yield upstream


@pytest_asyncio.fixture
async def proxy(own_redis: RedisServer, upstream: FakeMediaServer) -> AsyncIterator[ProxyProcess]:
    settings = {"REDIS_ADDR": own_redis.addr, "MEDIA_SERVICE_ADDR": upstream.addr, "MAX_CONCURRENT_CALLS": "20"}
    async with ProxyProcess(**settings) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def gateway(proxy: ProxyProcess) -> AsyncIterator[Gateway]:
    async with Gateway(proxy.addr) as gateway:
        yield gateway


@pytest_asyncio.fixture
async def page(proxy: ProxyProcess) -> AsyncIterator[Browser]:
    async with Browser() as browser:
        await browser.go(f"http://127.0.0.1:{proxy.admin_port}/")
        await browser.shows("#about", "Version")
        yield browser
        assert await browser.complaints() == []


async def _rows(page: Browser, selector: str) -> int:
    return await page.run(lambda driver: len(driver.find_elements("css selector", f"{selector} tbody tr")))


async def test_many_rows_are_paged_and_long_names_fit_a_phone(page: Browser, gateway: Gateway) -> None:
    for number in range(250):
        await gateway.hits(1, model_type=LONG, collection=f"{LONG}-{number}")
    await page.type("#model-type", LONG)
    await page.type("#model-id", "1")
    await page.click("#look-up")
    await page.shows("#answer", "250 stored")
    await page.shows("#answer .pager", "1 to 25 of 250")
    assert await _rows(page, "#answer") == 25
    for first in range(26, 250, 25):
        await page.click("#answer .pager button:last-child")
        await page.shows("#answer .pager", f"{first} to {first + 24} of 250")
    assert await _rows(page, "#answer") == 25
    phone = {"width": 375, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    await page.run(lambda driver: driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone))
    widths = "return [document.documentElement.scrollWidth, window.innerWidth]"
    content, window = await page.run(lambda driver: driver.execute_script(widths))
    assert content <= window == 375


async def test_a_page_of_invalidations_stays_where_it_was(page: Browser, gateway: Gateway) -> None:
    for number in range(25):
        await gateway.upload(number)
    await page.shows("#invalidations .pager", "1 to 10 of 25")
    await page.click("#invalidations .pager button:last-child")
    await page.shows("#invalidations .pager", "11 to 20 of 25")
    await gateway.upload(100)
    await page.shows("#invalidations .pager", "11 to 20 of 26")


async def test_refusals_failures_and_limits_show_at_the_top(
    page: Browser, gateway: Gateway, upstream: FakeMediaServer
) -> None:
    await page.shows("#verdict", "All is well")
    gate = upstream.media.hold("GetFilesByModel")
    calls = [asyncio.ensure_future(gateway.read("User", number)) for number in range(30)]
    await gate.reached(18)
    await page.shows("#in-flight-note", "of 20 allowed")
    await page.shows("#limits", "MAX_CONCURRENT_CALLS")
    gate.open()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    refused = sum(isinstance(outcome, grpc.aio.AioRpcError) for outcome in outcomes)
    assert refused
    await page.shows("#refused", str(refused))
    await page.shows("#callers", "RESOURCE_EXHAUSTED")
    await page.shows("#verdict", "Something is wrong")
    upstream.media.unsuccessful["GetFilesByModel"] = "database away"
    for number in range(100, 110):
        await gateway.read("User", number)
    await page.shows("#failures-note", "10 in all")
    await page.shows("#dependency-upstream", "it answers with failures")
    await page.shows("#reasons", "The media service answers with failures.")


async def test_settings_and_what_is_stored_are_shown_when_asked_for(page: Browser, gateway: Gateway) -> None:
    for number in range(7):
        await gateway.read("User", number)
    await page.click("#show-settings")
    await page.shows("#settings", "CACHE_TTL")
    await page.click("#count")
    await page.shows("#stored", "7 models, about")
    await page.click("#level-debug")
    await page.shows("#level-answer", "The level is debug; it was info.")
    await page.click("#level-info")
    await page.shows("#level-answer", "The level is info; it was debug.")


async def test_a_purge_that_takes_long_says_that_it_is_under_way(page: Browser, own_redis: RedisServer) -> None:
    own_redis.freeze()
    try:
        await page.shows("#dependency-redis", "lost for")
        await page.type("#model-id", "1")
        await page.click("#purge")
        await page.click("#confirm-go")
        await page.shows("#answer", "Purging…")
        assert not await page.run(lambda driver: driver.find_element("css selector", "#purge").is_enabled())
        await page.shows("#answer", "the proxy retries it")
    finally:
        own_redis.thaw()

    async def enabled() -> bool:
        return await page.run(lambda driver: driver.find_element("css selector", "#purge").is_enabled())

    await until(enabled, "the button to be of use again")
