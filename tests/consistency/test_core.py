"""Any sequence of reads, writes, events, evictions, cancellations and clock jumps leaves I1 to I3 kept."""

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.consistency.machine import Machine
from tests.servers.redis import RedisServer

_SETTINGS = settings(
    max_examples=20,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


def test_no_sequence_breaks_a_promise(session_redis: RedisServer) -> None:
    class OnThisRedis(Machine):
        redis = session_redis

    run_state_machine_as_test(OnThisRedis, settings=_SETTINGS)
