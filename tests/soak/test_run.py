"""Whatever callers do, and wherever they stop doing it: of a call that is over nothing is left in the proxy (I8)."""

import pytest

from tests.soak.held import findings
from tests.soak.run import Soak
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer


@pytest.mark.parametrize("calls", [20_000, pytest.param(200_000, marks=[pytest.mark.long])])
@pytest.mark.timeout(1800)
async def test_memory_is_flat(own_redis: RedisServer, rabbit: RabbitServer, calls: int) -> None:
    soak = Soak(own_redis, await rabbit.vhost(), calls, seed=1)
    await soak.run()
    assert findings(soak.samples) == [], soak.report()
    # It proves something only if there were calls of all kinds, and many were cut short in the middle.
    assert all(soak.results.values()), soak.report()
    assert soak.ended["cut-short"] > calls * 0.1, soak.report()
    assert soak.ended["OK"] > calls * 0.4, soak.report()
    assert soak.ended.keys() == {"OK", "broken", "cut-short", "DEADLINE_EXCEEDED"}, soak.report()
