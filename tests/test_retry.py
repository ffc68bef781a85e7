"""What must not be lost is tried until it is done, at growing intervals."""

from itertools import islice, repeat

from proxy.retry import jittered, until_done


def test_pauses_double_up_to_the_highest() -> None:
    longest = islice(jittered(0.1, 5.0, lambda _, high: high), 8)
    assert [round(pause, 3) for pause in longest] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_pause_is_shortened_by_up_to_half_at_random() -> None:
    shortest = islice(jittered(0.1, 5.0, lambda low, _: low), 7)
    assert [round(pause, 3) for pause in shortest] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.5]
    assert all(0.05 <= next(jittered()) <= 0.1 for _ in range(100))


async def test_an_action_is_tried_until_it_returns_and_each_failure_is_told() -> None:
    errors = [RuntimeError("one"), OSError("two")]
    left, told = list(errors), []

    async def action() -> None:
        if left:
            raise left.pop(0)

    await until_done(action, lambda times, error: told.append((times, error)), lambda: repeat(0.0))
    assert told == [(1, errors[0]), (2, errors[1])]
