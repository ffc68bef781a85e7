"""Events are not taken without Redis or while one waits for its confirmation, and are taken again once all is well."""

import pytest

from proxy.amqp.duty import IN_PART, OFF_DUTY, Able, Duty


class Redis:
    """A Redis whose state the test sets."""

    up = True

    def __call__(self) -> bool:
        return self.up


@pytest.fixture
def redis() -> Redis:
    return Redis()


@pytest.fixture
def duty(redis: Redis) -> Duty:
    return Duty(Able(any=redis), patience=1.0)


def test_it_is_on_at_first_and_while_all_is_well(duty: Duty) -> None:
    assert duty.on
    assert not duty.looked(0.0, None)
    assert not duty.looked(10.0, 9.5)
    assert duty.on


def test_it_ends_once_redis_has_been_away_for_so_long(duty: Duty, redis: Redis) -> None:
    redis.up = False
    assert not duty.looked(5.0, None)
    assert not duty.looked(5.9, None)
    assert duty.looked(6.0, None)
    assert not duty.on
    assert duty.doubtful_since == 5.0


def test_a_short_absence_is_none(duty: Duty, redis: Redis) -> None:
    for start in range(5):
        redis.up = False
        assert not duty.looked(start, None)
        redis.up = True
        assert not duty.looked(start + 0.9, None)
    assert duty.doubtful_since is None


def test_it_ends_once_an_event_has_waited_for_so_long_though_redis_answers(duty: Duty) -> None:
    assert not duty.looked(5.9, 5.0)
    assert duty.looked(6.0, 5.0)
    assert not duty.on


def test_events_that_come_and_go_quickly_do_not_end_it(duty: Duty) -> None:
    assert not any(duty.looked(now, now - 0.9) for now in range(20))


def test_the_earlier_doubt_counts(duty: Duty, redis: Redis) -> None:
    redis.up = False
    duty.looked(5.5, 5.0)
    assert duty.looked(6.0, 5.0)
    assert duty.doubtful_since == 5.0


def test_it_begins_again_once_redis_is_there_and_has_confirmed_everything(duty: Duty, redis: Redis) -> None:
    redis.up = False
    duty.looked(0.0, None)
    duty.looked(1.0, 0.5)
    assert not duty.on
    redis.up = True
    assert not duty.looked(2.0, 0.5)  # it answers, but accepts no writes
    redis.up = False
    assert not duty.looked(3.0, None)
    redis.up = True
    assert duty.looked(4.0, None)
    assert duty.on


class TestInPart:
    """Some masters of a Cluster can be used, and others cannot."""

    @pytest.fixture
    def whole(self) -> Redis:
        return Redis()

    @pytest.fixture
    def duty(self, redis: Redis, whole: Redis) -> Duty:
        return Duty(Able(any=redis, whole=whole), patience=1.0)

    def test_it_is_in_part_once_a_master_has_been_away_for_so_long(self, duty: Duty, whole: Redis) -> None:
        whole.up = False
        assert not duty.looked(5.0, None)
        assert not duty.looked(5.9, None)
        assert duty.looked(6.0, None)
        assert (duty.on, duty.in_part, duty.doubtful_since, duty.trouble) == (True, True, None, IN_PART)

    def test_it_is_whole_again_at_once(self, duty: Duty, whole: Redis) -> None:
        whole.up = False
        duty.looked(5.0, None)
        duty.looked(6.0, None)
        whole.up = True
        assert duty.looked(6.1, None)
        assert (duty.on, duty.in_part, duty.trouble) == (True, False, "")

    def test_without_room_for_more_it_ends_until_all_is_well(self, duty: Duty, whole: Redis) -> None:
        """If it took events again with some room left, it would fill up again, and the events behind would be late."""
        whole.up = False
        duty.looked(5.0, None)
        duty.looked(6.0, None, crowded=True)
        assert duty.looked(7.0, None, crowded=True)
        assert (duty.on, duty.doubtful_since, duty.trouble) == (False, 6.0, OFF_DUTY)
        assert not duty.looked(9.0, None)
        whole.up = True
        assert duty.looked(9.1, None)
        assert (duty.on, duty.in_part) == (True, False)

    def test_without_any_of_it_it_ends(self, duty: Duty, redis: Redis, whole: Redis) -> None:
        redis.up = whole.up = False
        duty.looked(5.0, None)
        assert duty.looked(6.0, None)
        assert (duty.on, duty.in_part) == (False, False)
