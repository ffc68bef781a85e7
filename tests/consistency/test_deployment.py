"""What is reported about a deployment: which changes arrived, and which did not."""

from collections.abc import AsyncIterator

import pytest

from proxy.pb import media_pb2 as pb
from tests.consistency.deployment import Watch, report
from tests.support.calling import Gateway
from tests.support.servers.upstream import FakeMediaServer

REQUEST = pb.GetFilesByModelRequest(model_type="user", model_id=1)


@pytest.fixture
async def servers() -> AsyncIterator[tuple[FakeMediaServer, FakeMediaServer, Watch]]:
    """The proxy's answers, the service's answers, and a watch on both."""
    async with FakeMediaServer() as through, FakeMediaServer() as straight:
        async with Gateway(through.addr) as proxy, Gateway(straight.addr) as service:
            yield through, straight, Watch(proxy.stub, service.stub, REQUEST)


async def test_a_change_counts_from_when_it_is_seen_until_the_proxy_shows_it(
    servers: tuple[FakeMediaServer, FakeMediaServer, Watch],
) -> None:
    through, straight, watch = servers
    await watch.look()
    assert (watch.arrived, watch.awaited) == ([], 0)
    straight.media.add("user", 1, updated_at=1)
    await watch.look()
    await watch.look()
    assert (watch.arrived, watch.awaited) == ([], 1)
    through.media.add("user", 1, updated_at=1)
    await watch.look()
    assert (len(watch.arrived), watch.awaited) == (1, 0)


async def test_the_shares_are_of_all_changes(servers: tuple[FakeMediaServer, FakeMediaServer, Watch]) -> None:
    _, straight, watch = servers
    await watch.look()
    straight.media.add("user", 1)
    await watch.look()
    watch.arrived += [0.5, 4.0, 61.0]
    assert report([watch]).splitlines() == [
        "changes 4, not seen through the proxy in the end 1",
        "consistent within 1 s: 25.0%",
        "consistent within 5 s: 50.0%",
        "consistent within 60 s: 50.0%",
    ]
    assert report([]) == "changes 0, not seen through the proxy in the end 0"
