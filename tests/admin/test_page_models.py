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
    await browser.shows("#top-models tbody tr:first-child", "user 7 ")
    _, _, reads, share, _ = (await browser.text("#top-models tbody tr:first-child")).split()
    assert int(reads) >= 21  # with those that came before Redis was connected
    assert 0 < float(share) < 100
    await browser.shows("#events", "api-gateway-media-cache-uploaded 0")
    await publish(url, 7)
    await browser.shows("#events", "1 applied")
    await browser.shows("#invalidations", "event")


async def test_the_verdict_of_the_proxy_stands_at_the_top_and_only_well_is_green(
    page: tuple[Browser, ProxyProcess, str],
) -> None:
    browser, _, _ = page
    script = """
        return ["well", "limited", "wrong"].map((state) => {
          showState({ verdict: { state, reasons: ["because"] } });
          return [$("verdict").textContent, $("reasons").textContent, $("state").className];
        });"""
    assert await browser.run(lambda driver: driver.execute_script(script)) == [
        ["All is well", "because", "card well"],
        ["Working, with restrictions", "because", "card notes"],
        ["Something is wrong", "because", "card serious"],
    ]


async def test_a_dependency_is_green_only_while_nothing_is_wrong_with_it(
    page: tuple[Browser, ProxyProcess, str],
) -> None:
    browser, _, _ = page
    script = """
        const states = [{ up: true, seconds: 9, reason: "" }, { up: true, seconds: 9, reason: "trouble" },
          { up: false, seconds: 9, reason: "trouble" }, { up: false, seconds: null, reason: "" }, undefined];
        const apart = [{ up: null, reason: "" }, { up: true, reason: "" }, { up: false, reason: "not connected" }];
        const shown = (item) => [item.className, item.querySelector(".state").textContent];
        return [...states.map((state) => shown(dependency("redis", "Redis", state))),
          ...apart.map((state) => shown(dependency("shop.Products", "shop.Products", state, " (shop:50055)")))];"""
    assert await browser.run(lambda driver: driver.execute_script(script)) == [
        ["up", "up for 9 s"],
        ["warn", "up for 9 s, but: trouble"],
        ["down", "lost for 9 s: trouble"],
        ["absent", "state not known yet"],
        ["absent", "not configured"],
        ["absent", "no call was sent to it lately (shop:50055)"],
        ["up", "up (shop:50055)"],
        ["down", "lost: not connected (shop:50055)"],
    ]


async def test_the_long_name_of_a_service_does_not_run_into_its_state(
    page: tuple[Browser, ProxyProcess, str],
) -> None:
    browser, _, _ = page
    script = """
        document.body.style.width = arguments[0];
        showDependencies({ dependencies: {}, services: ["shop.ProductCatalogService", "a".repeat(100)]
          .map((name) => ({ name, target: "shop:50055", up: true, reason: "" })) });
        return [...document.querySelectorAll("#dependencies .service")].map((item) => {
          const [, name, state] = item.children;
          return [name.scrollWidth <= name.clientWidth, state.scrollWidth <= state.clientWidth, state.clientWidth > 60];
        });"""
    for width in ("1100px", "390px"):
        shown = await browser.run(lambda driver, width=width: driver.execute_script(script, width))  # type: ignore[misc]
        assert shown == [[True, True, True]] * 2


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
