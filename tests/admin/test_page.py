"""The admin page: one document that loads nothing, and what a person sees and does in a real Chromium."""

import asyncio
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser

import pytest_asyncio

from proxy.admin.page import PAGE, POLICY
from tests.support.calling import Gateway
from tests.support.servers.browser import Browser
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.streams import StreamServer
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until

DOCUMENT = PAGE.decode()


class Elements(HTMLParser):
    """All start tags of the document."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(DOCUMENT)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


class TestDocument:
    def test_it_names_no_address_but_that_of_the_svg_namespace(self) -> None:
        assert set(re.findall(r"\w+://[^\"'\s]*", DOCUMENT)) == {"http://www.w3.org/2000/svg"}

    def test_no_element_loads_anything(self) -> None:
        for tag, attributes in Elements().tags:
            for name in ("src", "href", "action", "data"):
                assert attributes.get(name, "data:,") == "data:,", tag
            assert not [name for name in attributes if name.startswith("on") or name == "style"]

    def test_every_field_has_a_label_and_every_id_is_one(self) -> None:
        inside = re.findall(r"<label.*?</label>", DOCUMENT, re.DOTALL)
        fields = re.findall(r"<input[^>]*>", DOCUMENT)
        assert fields
        assert sum(field in label for field in fields for label in inside) == len(fields)
        ids = [attributes["id"] for _, attributes in Elements().tags if "id" in attributes]
        assert len(ids) == len(set(ids))
        for _, attributes in Elements().tags:
            assert (attributes.get("aria-labelledby") or ids[0]) in ids

    def test_the_policy_permits_its_own_scripts_and_nothing_else(self) -> None:
        assert POLICY.startswith("default-src 'none';")
        assert "unsafe" not in POLICY
        assert "frame-ancestors 'none'" in POLICY


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Browser]:
    async with Browser() as browser:
        yield browser


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[FakeMediaServer]:
    async with FakeMediaServer() as upstream:
        upstream.media.add("User", 1)
        yield upstream


@pytest_asyncio.fixture
async def proxy(own_redis: RedisServer, upstream: FakeMediaServer) -> AsyncIterator[ProxyProcess]:
    async with ProxyProcess(REDIS_ADDR=own_redis.addr, MEDIA_SERVICE_ADDR=upstream.addr) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def gateway(proxy: ProxyProcess) -> AsyncIterator[Gateway]:
    async with Gateway(proxy.addr) as gateway:
        yield gateway


@pytest_asyncio.fixture
async def page(browser: Browser, proxy: ProxyProcess) -> AsyncIterator[Browser]:
    """The page, open; at the end the browser must have had nothing to complain about."""
    await browser.go(f"http://127.0.0.1:{proxy.admin_port}/")
    await browser.shows("#about", "Version")
    yield browser
    assert await browser.complaints() == []


async def test_an_empty_plot_has_an_axis_that_reads_well(page: Browser) -> None:
    texts = "return [...document.querySelectorAll('#rate-plot svg text')].map((text) => text.textContent)"

    async def marked() -> bool:
        shown: list[str] = await page.run(lambda driver: driver.execute_script(texts))
        return shown[:3] == ["0/s", "0.5/s", "1/s"]

    await until(marked, "the axis of calls per second")


async def test_the_hit_ratio_moves_while_one_looks(page: Browser, gateway: Gateway) -> None:
    await page.shows("#hit-ratio", "\N{EN DASH}")
    await gateway.read()
    await page.shows("#hit-ratio", "0 %")
    for _ in range(3):
        await gateway.read()
    await page.shows("#hit-ratio", "75.0 %")
    await page.shows("#rate-note", "4 in all")
    await page.shows("#saved", "3")

    async def described() -> bool:
        return "hit ratio 75 %" in await _attribute(page, "#ratio-plot svg", "aria-label")

    await until(described, "the plot to say so")
    for result in ("hit", "miss"):
        await page.shows(f"#{result}-plot", "median")
        await page.shows(f"#{result}-p50", "ms")
        await page.shows(f"#{result}-p99", "median, p99 ")
    await page.shows("#rate-plot", "/s")
    drawn = "#ratio-plot circle, #ratio-plot path[d*=L]"
    assert await page.run(lambda driver: driver.find_elements("css selector", drawn))


async def _attribute(browser: Browser, selector: str, name: str) -> str:
    return await browser.run(lambda driver: str(driver.find_element("css selector", selector).get_attribute(name)))


async def test_without_events_the_page_says_how_long_answers_are_served(page: Browser) -> None:
    await page.shows("#events", "stored answers are served until CACHE_TTL has passed")
    assert "CACHE_TTL_WITHOUT_EVENTS" not in await page.text("#events")  # which counts only where events are lost


async def test_a_purge_is_confirmed_first_and_told_when_done(page: Browser, gateway: Gateway) -> None:
    await gateway.read("User", 1)
    await page.type("#model-id", "1")
    await page.click("#look-up")
    await page.shows("#answer", "user 1: 1 stored")
    await page.shows("#answer", "avatars")
    await page.click("#purge")
    await page.shows("#confirm", "Purge user 1?")
    await page.click("#confirm button[value=cancel]")
    await page.click("#look-up")
    await page.shows("#answer", "user 1: 1 stored")
    assert (await gateway.read("User", 1)).x_cache == "hit"
    await page.click("#purge")
    await page.shows("#confirm", "Purge user 1?")
    await page.click("#confirm-go")
    await page.shows("#answer", "user 1 is purged.")
    await page.shows("#invalidations", "admin")
    assert (await gateway.read("User", 1)).x_cache == "miss"


async def test_a_flush_is_confirmed_first_and_told_when_done(page: Browser, gateway: Gateway) -> None:
    await gateway.read()
    await page.click("#flush")
    await page.shows("#confirm", "Flush the whole cache?")
    await page.click("#confirm-go")
    await page.shows("#answer", "The whole cache is flushed.")
    await page.shows("#invalidations", "everything")
    assert (await gateway.read()).x_cache == "miss"


async def test_the_mode_is_switched_once_confirmed(page: Browser, gateway: Gateway) -> None:
    assert await gateway.x_cache() == "miss"
    await gateway.hits()
    await page.shows("#mode-text", "answered from the cache")
    assert await _attribute(page, "#mode-on", "aria-pressed") == "true"
    await page.click("#mode-off")
    await page.shows("#confirm", "Switch caching off?")
    await page.click("#confirm button[value=cancel]")
    assert await gateway.x_cache() == "hit"
    for mode, title in (("off", "Switch caching off?"), ("shadow", "Switch to shadow?"), ("on", "Switch caching on?")):
        before = (await page.text("#mode")).removeprefix("mode ")
        await page.click(f"#mode-{mode}")
        await page.shows("#confirm", title)
        await page.click("#confirm-go")
        await page.shows("#mode-answer", f"The mode is {mode}; it was {before}.")
        await page.shows("#mode", f"mode {mode}")
        assert await _attribute(page, f"#mode-{mode}", "aria-pressed") == "true"
        assert await gateway.x_cache() == ("hit" if mode == "on" else "bypass")


async def test_a_call_is_explained(page: Browser, gateway: Gateway) -> None:
    await gateway.read("user", 1, "avatars", per_page=1)
    await page.type("#model-id", "1")
    await page.click("#explain")
    await page.shows("#answer", "This call would be a hit.")
    await page.type("#per-page", "20")
    await page.click("#explain")
    await page.shows("#answer", "This call would be a miss.")
    await page.shows("#answer", "per_page 1.")


async def test_redis_goes_red_when_it_is_killed_and_green_when_it_is_back(
    page: Browser, own_redis: RedisServer
) -> None:
    await page.shows("#dependency-redis", "up for")
    green = await page.css("#dependency-redis .dot", "background-color")
    own_redis.kill()
    await page.shows("#dependency-redis", "lost for")
    red = await page.css("#dependency-redis .dot", "background-color")
    assert red != green == await page.css("#dependency-upstream .dot", "background-color")
    assert await page.text("#dependency-rabbitmq") == "RabbitMQ\nnot configured"
    await own_redis.start()
    await page.shows("#dependency-redis", "up for")
    assert await page.css("#dependency-redis .dot", "background-color") == green


async def test_all_of_it_works_by_keyboard(page: Browser, gateway: Gateway) -> None:
    from selenium.webdriver.common.keys import Keys  # noqa: PLC0415

    await gateway.read("User", 1)

    async def press(*keys: str) -> None:
        await page.run(lambda driver: driver.switch_to.active_element.send_keys(*keys))

    async def focused() -> str:
        return await page.run(lambda driver: str(driver.switch_to.active_element.get_attribute("id")))

    async def tab_to(wanted: str) -> None:
        for _ in range(20):
            if await focused() == wanted:
                return
            await press(Keys.TAB)
        raise AssertionError(f"no tab leads to {wanted}")

    await tab_to("model-id")
    await press("1", Keys.ENTER)
    await page.shows("#answer", "user 1: 1 stored")
    await tab_to("purge")
    assert await page.css("#purge", "outline-style") == "solid"
    await press(Keys.ENTER)
    await page.shows("#confirm", "Purge user 1?")
    await press(Keys.ESCAPE)
    await page.shows("#answer", "user 1: 1 stored")
    await tab_to("purge")
    await press(Keys.ENTER)
    await tab_to("confirm-go")
    await press(Keys.ENTER)
    await page.shows("#answer", "user 1 is purged.")


async def test_light_and_dark_follow_the_system(page: Browser) -> None:
    papers = []
    for scheme in ("light", "dark"):
        await page.scheme(scheme)
        papers.append(await page.css("body", "background-color"))
    assert papers == ["rgba(246, 247, 249, 1)", "rgba(18, 22, 28, 1)"]


async def test_what_is_shown_can_be_no_markup(page: Browser, gateway: Gateway) -> None:
    await gateway.upload(1, "<img src=x onerror=document.title='owned'>")
    await page.shows("#invalidations", "<img src=x")
    assert await page.run(lambda driver: driver.title) == "media-cache-proxy"
    assert await page.run(lambda driver: driver.find_elements("css selector", "#invalidations img")) == []


async def test_what_is_not_understood_is_said_in_place(page: Browser) -> None:
    await page.type("#model-id", "99999999999999999999")
    await page.click("#look-up")
    await page.shows("#answer", "model_id: '99999999999999999999' is not understood")
    # Chromium writes a line for every answer of 400 and above.
    (line,) = await page.complaints()
    assert "400 (Bad Request)" in line


async def test_a_token_is_asked_for_and_kept_in_memory_only(browser: Browser, own_redis: RedisServer) -> None:
    async with ProxyProcess(REDIS_ADDR=own_redis.addr, ADMIN_TOKEN="secret") as proxy:
        await browser.go(f"http://127.0.0.1:{proxy.admin_port}/")
        await browser.shows("#token-form", "requires a token")
        assert await browser.text("#main") == ""
        await browser.type("#token", "wrong")
        await browser.click("#token-form button")
        await browser.shows("#trouble", "the token is wrong")
        await browser.type("#token", "secret")
        await browser.click("#token-form button")
        await browser.shows("#dependency-redis", "up for")
        kept = "return JSON.stringify([localStorage, sessionStorage]) + document.cookie + location.href"
        assert "secret" not in await browser.run(lambda driver: str(driver.execute_script(kept)))
        await browser.run(lambda driver: driver.refresh())
        await browser.shows("#token-form", "requires a token")


async def test_a_proxy_that_is_gone_is_said_and_so_is_its_return(browser: Browser, proxy: ProxyProcess) -> None:
    async with FaultyTcp(proxy.admin_port) as tcp:
        await browser.go(f"http://127.0.0.1:{tcp.port}/")
        await browser.shows("#about", "Version")
        await tcp.refuse()
        tcp.cut()
        await browser.shows("#verdict", "has not answered for")
        assert await _colours(browser) & GREEN == set()
        await tcp.start()
        await browser.shows("#verdict", "All is well")
        assert await _colours(browser) & GREEN


GREEN = {"rgb(26, 127, 75)", "rgb(76, 195, 138)"}


async def _colours(browser: Browser) -> set[str]:
    """All that anything on the page is drawn in."""
    script = """return [...document.querySelectorAll("#main, #main *")].flatMap((each) => {
        const style = getComputedStyle(each);
        return [style.color, style.backgroundColor, style.borderLeftColor];
    })"""
    return set(await browser.run(lambda driver: driver.execute_script(script)))


async def test_another_page_can_order_nothing(browser: Browser, proxy: ProxyProcess) -> None:
    """A page of another origin, here one on another port, in the same browser."""

    async def hostile(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = (
            f"fetch('http://127.0.0.1:{proxy.admin_port}/mode?mode=off', {{method: 'POST', mode: 'no-cors'}})"
            ".then(() => { document.title = 'asked'; }, () => { document.title = 'asked'; });"
        )
        body = f"<title>hostile</title><script>{script}</script>".encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(
            body
        )
        writer.write(head + body)
        await writer.drain()
        writer.close()

    async with StreamServer(hostile) as server:
        await browser.go(f"http://127.0.0.1:{server.port}/")
        await until(lambda: _title_is(browser, "asked"), "the hostile page to have asked")
    await browser.complaints()
    await browser.go(f"http://127.0.0.1:{proxy.admin_port}/")
    await browser.shows("#mode", "mode on")


async def _title_is(browser: Browser, title: str) -> bool:
    return bool(await browser.run(lambda driver: driver.title == title))
