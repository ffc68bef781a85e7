"""A service that fails is told of, however many others do not; one that is gone leaves no series behind."""

import logging

import pytest
from prometheus_client import CollectorRegistry

from proxy.telemetry.upstream_answers import UpstreamAnswers

GET = "/shop.Products/Get"


def failing(registry: CollectorRegistry, service: str) -> float | None:
    return registry.get_sample_value("media_cache_upstream_failing", {"service": service})


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def answers(registry: CollectorRegistry) -> UpstreamAnswers:
    made = UpstreamAnswers(registry)
    made.serves({"media.MediaService": "the media service", "shop.Products": "shop.Products"})
    return made


def test_one_that_fails_does_not_hide_behind_one_that_does_not(
    answers: UpstreamAnswers, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        answers.of("/media.MediaService/GetFilesByModel").good(100)
        answers.of(GET).failed("UNAVAILABLE")
    assert caplog.messages == ["shop.Products answers with failures: UNAVAILABLE"]
    assert [failing(registry, each) for each in ("media.MediaService", "shop.Products", "other")] == [0, 1, 0]
    assert answers.of_service("shop.Products").away
    assert not answers.of_service("media.MediaService").reason


def test_what_the_policy_does_not_name_counts_as_one(
    answers: UpstreamAnswers, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(5):
        answers.of(f"/made.Up{number}/Call").failed("INTERNAL")
    assert caplog.messages == ["the service at MEDIA_SERVICE_ADDR answers with failures: INTERNAL"]
    assert failing(registry, "other") == 1
    assert failing(registry, "made.Up0") is None


def test_while_its_service_is_not_connected_failures_are_no_news(
    answers: UpstreamAnswers, caplog: pytest.LogCaptureFixture
) -> None:
    answers.connected = lambda name: name != "shop.Products"
    answers.of(GET).failed("UNAVAILABLE", 100)
    assert caplog.messages == []
    answers.of("/media.MediaService/GetFilesByModel").failed("UNAVAILABLE", 100)
    assert len(caplog.messages) == 1


def test_another_policy_keeps_what_is_known_of_its_services_and_forgets_the_others(
    answers: UpstreamAnswers, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        answers.of(GET).failed("INTERNAL", 5)
        answers.of("/media.MediaService/GetFilesByModel").failed("INTERNAL", 5)
        answers.serves({"media.MediaService": "the media service"})
    assert answers.of_service("media.MediaService").reason
    assert failing(registry, "shop.Products") is None
    assert not answers.of(GET).reason
