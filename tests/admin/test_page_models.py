"""The admin page: the most read models, the queues of events; and that an update leaves alone what a person does."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest_asyncio

from tests.support.calling import Gateway, publish
from tests.support.servers.browser import Browser
from tests.support.servers.process import ProxyProcess
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until

USERS = 15


@pytest_asyncio.fixture
async def page(
    rabbit: RabbitServer, own_redis: RedisServer, each_transport: None
) -> AsyncIterator[tuple[Browser, ProxyProcess, str]]:
    url = await rabbit.vhost()
    async with FakeMediaServer() as upstream:
        for user in range(1, USERS + 1):
            upstream.media.add("User", user)
        settings = {"REDIS_ADDR": own_redis.addr, "MEDIA_SERVICE_ADDR": upstream.addr, "RABBITMQ_ADDR": url}
        async with ProxyProcess(**settings) as proxy, Browser() as browser, Gateway(proxy.addr) as gateway:
            for user in range(1, USERS + 1):
                await gateway.read("User", user)
            await until(partial(_is_hit, gateway), "a hit")
            for _ in range(20):
                await gateway.read("User", 7)
            await browser.go(f"http://127.0.0.1:{proxy.admin_port}/")
            await browser.shows("#about", "MiB of memory")
            yield browser, proxy, url
            assert await browser.complaints() == []


async def test_the_most_read_models_and_the_queues_are_shown(page: tuple[Browser, ProxyProcess, str]) -> None:
    browser, _, url = page
    await browser.shows("#top-models tbody tr:first-child", "user 7 2")
    share = (await browser.text("#top-models tbody tr:first-child")).split()[3]
    assert float(share) > 50
    await browser.shows("#events", "api-gateway-media-cache-uploaded 0")
    await publish(url, 7)
    await browser.shows("#events", "1 applied")
    await browser.shows("#invalidations", "event")


async def test_nothing_is_well_while_a_dependency_says_what_is_wrong(page: tuple[Browser, ProxyProcess, str]) -> None:
    browser, _, _ = page
    script = """
        const well = { up: true, seconds: 9, reason: "" }, wrong = { up: true, seconds: 9, reason: "trouble" };
        const lost = { up: false, seconds: 9, reason: "trouble" };
        const verdict = (dependencies) => {
          showState({ unready: null, last_5_minutes: { refused: 0, statuses: {} }, dependencies,
                      invalidations: { pending: 0 }, mode: "on", ttl: 1 });
          return document.getElementById("verdict").textContent;
        };
        const told = [verdict({ redis: well, rabbitmq: well, upstream: well })];
        for (const name of ["redis", "rabbitmq", "upstream"])
          for (const state of [wrong, lost])
            told.push(verdict({ redis: well, rabbitmq: well, upstream: well, [name]: state }));
        return told;"""
    first, *others = await browser.run(lambda driver: list(driver.execute_script(script)))
    assert first == "All is well"
    assert len(others) == 6
    assert "All is well" not in others


async def test_what_a_person_selects_or_is_at_stays_while_the_page_is_updated(
    page: tuple[Browser, ProxyProcess, str],
) -> None:
    browser, _, _ = page
    await browser.shows("#top-models .pager", f"1 to 10 of {USERS}")
    await browser.click("#top-models .pager button:last-child")
    await browser.shows("#top-models .pager", f"11 to {USERS} of {USERS}")
    # The last page: "Next" is of no use now, so the focus is on "Previous", and stays there.
    before = await browser.text("#top-models p")
    await until(_changed(browser, "#top-models p", before), "the page to be updated")
    focused = "return document.activeElement.textContent"
    assert await browser.run(lambda driver: driver.execute_script(focused)) == "Previous"
    select = "getSelection().selectAllChildren(document.querySelector('#top-models td'))"
    await browser.run(lambda driver: driver.execute_script(select))
    selected = "return getSelection().toString()"
    name = await browser.run(lambda driver: driver.execute_script(selected))
    before = await browser.text("#about")
    await until(_changed(browser, "#about", before), "the page to be updated")
    assert name.startswith("user ")
    assert await browser.run(lambda driver: driver.execute_script(selected)) == name


async def _is_hit(gateway: Gateway) -> bool:
    return (await gateway.read("User", 7)).x_cache == "hit"


def _changed(browser: Browser, selector: str, before: str) -> Callable[[], Awaitable[bool]]:
    async def changed() -> bool:
        return await browser.text(selector) not in ("", before)

    return changed
