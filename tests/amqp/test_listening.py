"""How long a process has listened, without interruptions."""

import pytest

from proxy.amqp.listening import Listening


@pytest.fixture
def listening() -> Listening:
    return Listening(10.0)


def test_without_interruptions_it_is_the_time(listening: Listening) -> None:
    assert listening.since(100.0, 1.0) is None
    listening.told(100.0, listens=True)
    listening.told(105.0, listens=True)
    assert listening.since(109.9, 10.0) is None
    assert listening.since(110.0, 10.0) == 100.0
    assert listening.since(130.0, 10.0) == 120.0


def test_interruptions_do_not_count(listening: Listening) -> None:
    listening.told(100.0, listens=True)
    for at, listens in ((104.0, False), (104.5, False), (204.0, True), (207.0, False), (307.0, True)):
        listening.told(at, listens=listens)
    assert listening.since(308.0, 1.0) == 307.0
    assert listening.since(308.0, 2.0) == 206.0
    assert listening.since(308.0, 8.0) == 100.0
    assert listening.since(308.0, 8.1) is None
    listening.told(308.0, listens=False)
    assert listening.since(999.0, 8.0) == 100.0


def test_what_is_kept_is_bounded(listening: Listening) -> None:
    for number in range(10_000):
        listening.told(2.0 * number, listens=True)
        listening.told(2.0 * number + 1, listens=False)
    assert listening.since(20_000.0, 10.0) == 2.0 * 9990
    assert len(listening._before) < 20
