"""There is no delay for rare actions, and a growing one for repeated actions."""

from proxy.injector.pace import Pace


def test_it_slows_down_and_recovers() -> None:
    now = 100.0
    pace = Pace(lambda: now)
    pauses = [pace.pause() for _ in range(10)]
    assert pauses[:4] == [0.0, 0.05, 0.1, 0.2]
    assert pauses[-1] == 5.0
    now += 11
    assert pace.pause() == 0.0
