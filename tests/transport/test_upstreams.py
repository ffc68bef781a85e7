"""Calls go to the upstream of their service."""

from proxy.policy.compiled import Policy, Service
from proxy.policy.descriptors import Descriptors
from proxy.telemetry.metrics import Metrics
from proxy.transport.upstream import Upstream
from proxy.transport.upstreams import Channels, Upstreams


async def test_a_call_goes_by_its_services_full_name() -> None:
    default, shop = Upstream("localhost:1", Metrics()), Upstream("localhost:2", Metrics())
    upstreams = Upstreams(default, {"shop.Products": shop, "shop.Orders": shop})
    assert upstreams.of("/shop.Products/Get") is shop
    assert upstreams.of("/shop.Orders/Get") is shop
    assert upstreams.of("/shop.Products2/Get") is default
    assert upstreams.of("/other/Get") is default
    assert Upstreams(default, {}).of("/shop.Products/Get") is default
    assert default.of("/shop.Products/Get") is default
    await default.close()
    await shop.close()


def policy(*targets: str) -> Policy:
    def service(number: int, target: str) -> Service:
        return Service(f"s.S{number}", target, None, "", (), {}, {}, Descriptors([]))

    return Policy({f"s.S{number}": service(number, target) for number, target in enumerate(targets)}, ())


async def test_a_target_keeps_its_channel_whatever_policies_come() -> None:
    channels = Channels(Upstream("localhost:1", Metrics()), Metrics())
    first = channels.to(policy("", "localhost:2", "localhost:2"))
    assert first.of("/s.S0/Get") is channels.default
    assert first.of("/s.S1/Get") is first.of("/s.S2/Get")
    then = channels.to(policy("localhost:3", "localhost:2"))
    assert then.of("/s.S1/Get") is first.of("/s.S1/Get")
    assert then.of("/s.S0/Get") not in {channels.default, then.of("/s.S1/Get")}
    assert first.of("/s.S0/Get") is channels.default
    await channels.close()
