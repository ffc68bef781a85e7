"""I1 to I3 hold for any sequence of reads, writes, events, evictions, cancellations and clock jumps."""

import pytest
from hypothesis import Phase
from hypothesis.stateful import run_state_machine_as_test

from tests.consistency.machine import Machine
from tests.fuzz.budget import budget
from tests.support.servers.redis import RedisServer

_PHASES = [Phase.explicit, Phase.generate, Phase.shrink]


@pytest.mark.parametrize("sequences", [20, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_no_sequence_breaks_a_promise(session_redis: RedisServer, sequences: int) -> None:
    class OnThisRedis(Machine):
        redis = session_redis

    settings = budget(sequences, stateful_step_count=40, phases=_PHASES)
    run_state_machine_as_test(OnThisRedis, settings=settings)
