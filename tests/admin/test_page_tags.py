"""The admin page for services by policy alone: their reads, and look-up, explanation and purge by tag and method."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from examples.pb import product_pb2 as product
from tests.e2e.test_services import Services, serving, x_cache
from tests.support.servers.browser import Browser
from tests.support.servers.redis import RedisServer

MUG = product.GetProductByIDRequest(id=1)
GET = "product.ProductService/GetProductByID"


@pytest_asyncio.fixture
async def page(own_redis: RedisServer, tmp_path: Path) -> AsyncIterator[tuple[Browser, Services]]:
    async with serving(own_redis, tmp_path, "grpcio") as services, Browser() as browser:
        assert [await x_cache(services.products.GetProductByID(MUG)) for _ in range(2)] == ["miss", "hit"]
        await browser.go(f"http://127.0.0.1:{services.proxy.admin_port}/")
        yield browser, services
        assert await browser.complaints() == []


async def test_each_read_is_shown_with_how_it_does(page: tuple[Browser, Services]) -> None:
    browser, _ = page
    await browser.shows("#reads", f"{GET} 50.0 % 2 0")
    await browser.shows("#reads", "GetFilesByModel")


async def test_a_tag_is_looked_up_and_purged_and_a_method_explained(page: tuple[Browser, Services]) -> None:
    browser, services = page
    await browser.shows("#reads", GET)
    await browser.type("#tag", "product/1")
    await browser.click("#look-up-tag")
    await browser.shows("#answer", "product/1: 1 stored")
    await browser.shows("#answer", f'{GET} {{"id":"1"}}')
    await browser.type("#method", GET)
    await browser.type("#request", '{"id": 1}')
    await browser.click("#explain-method")
    await browser.shows("#answer", "This call would be a hit.")
    await browser.click("#purge-tag")
    await browser.shows("#confirm-title", "Purge product/1?")
    await browser.click("#confirm-go")
    await browser.shows("#answer", "product/1 is purged.")
    assert await x_cache(services.products.GetProductByID(MUG)) == "miss"
    await browser.shows("#invalidations", "product/1 admin")


async def test_a_look_up_tells_what_depends_on_what(page: tuple[Browser, Services]) -> None:
    browser, services = page
    await x_cache(services.products.GetProductBySlug(product.GetProductBySlugRequest(slug="mug")))
    for tag, text in (
        ("product/1", "An invalidation also removes what is stored under slug/mug."),
        ("slug/mug", "Its answers also depend on product/1."),
    ):
        await browser.type("#tag", tag)
        await browser.click("#look-up-tag")
        await browser.shows("#answer", text)
