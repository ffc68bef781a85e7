"""proxy.consuming: one consumer for the events of the policy that counts."""

from pathlib import Path

from proxy.consuming import Consuming
from proxy.core import Core
from proxy.policy.loading import load_policy
from proxy.settings.config import Settings
from proxy.settings.setting_types import RedisAddr
from proxy.telemetry.metrics import Metrics
from tests.support.servers.redis import RedisServer
from tests.support.services import policy_in


async def test_only_other_events_are_taken_by_another_consumer(redis: RedisServer, tmp_path: Path) -> None:
    path = Path(policy_in(tmp_path, product="shop:1"))
    settings = Settings(
        policy=str(path), redis_addr=RedisAddr().parse(redis.addr), rabbitmq_addr=("amqp://127.0.0.1:1/",)
    )
    core = Core.build(settings, Metrics())
    consuming = Consuming(settings, core, Metrics())
    consuming.start()
    try:
        first = consuming._consumer
        assert list(consuming.states) == ["rabbitmq"]
        for old, new, same in (
            ("ttl: 5m", "ttl: 6m", True),
            ("queue: products", "queue: shop", False),
            ("'products']\"\n", "'all products']\"\n", False),
        ):
            before = consuming._consumer
            _change(path, old, new)
            core.take_up(load_policy(str(path)))
            assert await consuming.take_up(core.served) == ()
            assert (consuming._consumer is before) is same
        assert first is not None
        assert first._tasks == []
        assert core.own_writes.succeeded == consuming._consumer.wrote  # type: ignore[union-attr]  # it is there
    finally:
        await consuming.stop()
        await core.close()


async def test_without_redis_or_events_there_is_none(tmp_path: Path) -> None:
    settings = Settings(redis_addr=None, rabbitmq_addr=("amqp://127.0.0.1:1/",))
    core = Core.build(settings, Metrics())
    consuming = Consuming(settings, core, Metrics())
    consuming.start()
    assert (consuming.settled, dict(consuming.states)) == (True, {})
    await consuming.stop()
    await core.close()


def _change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
