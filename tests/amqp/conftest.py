"""What tests of events on a real broker begin with: a virtual host of their own, and somebody who publishes there."""

from collections.abc import AsyncIterator

import pytest

from tests.support.amqp import Publisher, publishing
from tests.support.servers.rabbitmq import RabbitServer


@pytest.fixture
async def url(rabbit: RabbitServer) -> str:
    return await rabbit.vhost()


@pytest.fixture
async def publisher(url: str) -> AsyncIterator[Publisher]:
    async with publishing(url) as one:
        yield one
