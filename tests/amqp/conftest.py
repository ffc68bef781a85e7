"""Fixtures of tests with a real broker: a virtual host of the test's own, and a publisher there."""

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
