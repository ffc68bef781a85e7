"""When the media service counts as failing, and when no longer: one line each, and the gauge."""

import logging
from collections.abc import Iterator

import pytest
from grpc import StatusCode

from proxy.telemetry.failing import Failing
from tests.support.media_methods import media_metrics

LOGGER = "proxy.telemetry.failing"


class Watched:
    """A `Failing` on a clock of the test's own."""

    def __init__(self) -> None:
        self.now = 100.0
        self.told: list[bool] = []
        self.failing = Failing(self.told.append, lambda: self.now)


@pytest.fixture
def watched(caplog: pytest.LogCaptureFixture) -> Iterator[Watched]:
    with caplog.at_level(logging.INFO, LOGGER):
        yield Watched()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records if record.name == LOGGER]


def test_five_failures_in_a_row_begin_it_however_far_apart(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    for count in range(1, 6):
        watched.now += 60.0
        watched.failing.failed("UNAVAILABLE")
        assert bool(watched.failing.reason) is (count == 5)
    watched.failing.failed("INTERNAL")
    assert lines(caplog) == ["WARNING the media service answers with failures: UNAVAILABLE"]
    assert watched.told == [False, True]
    assert watched.failing.reason == "it answers with failures, the last one INTERNAL"


def test_half_of_the_answers_begin_it_and_fewer_do_not(watched: Watched) -> None:
    for _ in range(20):
        watched.failing.failed("INTERNAL")
        watched.failing.good(2)
    assert not watched.failing.reason
    watched.now += 11.0
    for _ in range(5):
        watched.failing.good()
        watched.failing.failed("INTERNAL")
    assert watched.failing.reason


def test_the_first_good_answer_after_five_quiet_seconds_ends_it(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.failing.failed("UNAVAILABLE", 5)
    watched.now += 4.0
    watched.failing.good()
    assert watched.failing.reason
    watched.now += 1.0
    watched.failing.good()
    assert not watched.failing.reason
    assert lines(caplog)[1:] == ["INFO the media service answers without failures again after 5.0 s"]
    assert watched.told == [False, True, False]


def test_a_failure_by_the_message_counts_like_one_by_the_status() -> None:
    metrics = media_metrics()
    for _ in range(20):
        metrics.client_call("/media.MediaService/GetFilesByModel", StatusCode.OK, 0.01)
        metrics.answered("/media.MediaService/GetFilesByModel", successful=True)
    for _ in range(5):
        metrics.client_call("/media.MediaService/GetFilesByModel", StatusCode.OK, 0.01)
        metrics.answered("/media.MediaService/GetFilesByModel", successful=False)
    assert (
        metrics.upstream_answers.of("/media.MediaService/GetFilesByModel").reason
        == "it answers with failures, the last one success = false"
    )
    assert metrics.registry.get_sample_value("media_cache_upstream_failing", {"service": "media.MediaService"}) == 1


@pytest.mark.parametrize(("why", "away"), [("UNAVAILABLE", True), ("DEADLINE_EXCEEDED", True), ("INTERNAL", False)])
def test_whether_stored_answers_may_stand_in(watched: Watched, why: str, away: bool) -> None:
    assert not watched.failing.away
    watched.failing.failed(why, 5)
    assert watched.failing.away is away


def test_while_it_is_not_connected_failures_are_no_news(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    watched.failing.connected = lambda: False
    watched.failing.failed("UNAVAILABLE", 100)
    assert (lines(caplog), watched.told) == ([], [False])
