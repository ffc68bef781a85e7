"""proxy.telemetry.popular: the models that are read most, in bounded memory."""

from proxy.telemetry.popular import WINDOW, Popular, PopularModel


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def counted(popular: Popular, tag: str, reads: int, cached: int = 0) -> None:
    for number in range(reads):
        popular.read(tag, cached=number < cached)


def test_the_most_read_come_first_with_what_the_cache_answered() -> None:
    popular = Popular(Clock())
    counted(popular, "user/1", 3, 2)
    counted(popular, "user/2", 5)
    counted(popular, "post/9", 1)
    assert popular.top(2) == [PopularModel("user/2", 5, 0), PopularModel("user/1", 3, 2)]


def test_the_window_before_counts_too_and_the_one_before_that_does_not() -> None:
    clock = Clock()
    popular = Popular(clock)
    counted(popular, "user/1", 2)
    clock.now += WINDOW
    counted(popular, "user/1", 1)
    counted(popular, "user/2", 1)
    assert popular.top(9) == [PopularModel("user/1", 3, 0), PopularModel("user/2", 1, 0)]
    assert popular.seconds == WINDOW
    clock.now += WINDOW
    assert popular.top(9) == [PopularModel("user/1", 1, 0), PopularModel("user/2", 1, 0)]
    assert popular.seconds == WINDOW


def test_after_a_long_time_without_reads_nothing_is_shown() -> None:
    clock = Clock()
    popular = Popular(clock)
    counted(popular, "user/1", 2)
    clock.now += 2 * WINDOW
    assert popular.top(9) == []
    assert popular.seconds == 0


def test_any_number_of_models_takes_bounded_memory_and_keeps_the_most_read() -> None:
    popular = Popular(Clock())
    counted(popular, "user/0", 100)
    for number in range(1, 20_000):
        popular.read(f"user/{number}", cached=False)
        popular.read("user/0", cached=True)
    assert len(popular.top(1_000_000)) <= 4096
    assert popular.top(1) == [PopularModel("user/0", 20_099, 19_999)]


def test_a_tag_of_absurd_length_is_not_kept() -> None:
    popular = Popular(Clock())
    popular.read("x" * 1000 + "/1", cached=True)
    assert popular.top(1) == []
