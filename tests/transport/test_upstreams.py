"""proxy.transport.upstreams: calls go to their service's own upstream."""

from proxy.telemetry.metrics import Metrics
from proxy.transport.upstream import Upstream
from proxy.transport.upstreams import Upstreams


async def test_a_call_goes_by_its_services_full_name() -> None:
    default, shop = Upstream("localhost:1", Metrics()), Upstream("localhost:2", Metrics())
    upstreams = Upstreams(default, {"shop.Products": shop, "shop.Orders": shop})
    assert upstreams.of("/shop.Products/Get") is shop
    assert upstreams.of("/shop.Orders/Get") is shop
    assert upstreams.of("/shop.Products2/Get") is default
    assert upstreams.of("/other/Get") is default
    assert list(upstreams.every) == [default, shop]
    assert Upstreams(default, {}).of("/shop.Products/Get") is default
    assert default.of("/shop.Products/Get") is default
    await upstreams.close()
