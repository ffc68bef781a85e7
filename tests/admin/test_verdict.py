"""proxy.admin.verdict: one answer to whether all is well, for everything that can be wrong."""

from typing import Any

import pytest

from proxy.admin.verdict import verdict
from proxy.service_states import ServiceState

UP = {"up": True, "seconds": 5.0, "reason": ""}
LOST = {"up": False, "seconds": 5.0, "reason": "refused"}
BUT = {"up": True, "seconds": 5.0, "reason": "something"}
UNHEARD = {"up": False, "seconds": None, "reason": ""}


def told(**changes: Any) -> dict[str, Any]:
    well = {
        "last_5_minutes": {"refused": 0, "statuses": {"OK": 5}},
        "dependencies": {"upstream": UP, "redis": UP, "rabbitmq": UP},
        "invalidations": {"pending": 0},
        "flush": None,
        "unready": None,
        "mode": "on",
        "ttl": 3600.0,
    }
    return {**well, **changes}


def dependencies(**states: dict[str, Any]) -> dict[str, Any]:
    return told(dependencies={"upstream": UP, "redis": UP, "rabbitmq": UP, **states})


def shop(up: bool | None, reason: str = "") -> list[ServiceState]:
    return [ServiceState("shop.Products", "shop.Products", "shop:50055", up, reason, away=False)]


def test_nothing_wrong_is_well_and_so_is_what_was_not_heard_of_yet() -> None:
    assert verdict(told(), [], "", "") == {"state": "well", "reasons": []}
    assert verdict(dependencies(upstream=UNHEARD, redis=UNHEARD), shop(None), "", "")["state"] == "well"
    assert verdict(told(), shop(True), "", "")["state"] == "well"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (told(last_5_minutes={"refused": 3, "statuses": {}}), "It refused calls"),
        (told(last_5_minutes={"refused": 0, "statuses": {"INTERNAL": 1}}), "Callers got INTERNAL"),
        (dependencies(upstream=LOST), "The media service is lost"),
        (dependencies(upstream=BUT), "The media service answers with failures"),
        (dependencies(redis=LOST), "Redis is lost"),
        (dependencies(redis=BUT), "Redis refuses commands"),
    ],
)
def test_what_callers_feel_is_wrong(answer: dict[str, Any], reason: str) -> None:
    found = verdict(answer, [], "", "")
    assert found["state"] == "wrong"
    assert found["reasons"][0].startswith(reason)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (told(unready="draining"), "It is not ready: draining."),
        (dependencies(rabbitmq=LOST), "RabbitMQ is lost"),
        (dependencies(rabbitmq=BUT), "Events are missing"),
        (told(invalidations={"pending": 1}), "Invalidations are waiting"),
        (told(invalidations={"pending": 1}, flush={"share": None}), "Invalidations are waiting"),
        (told(invalidations={"pending": 1}, flush={"share": 0.1}), "A flush is in progress"),
        (told(mode="shadow"), "The mode is shadow"),
        (told(ttl=0.0), "CACHE_TTL is 0"),
        (told(dependencies={"upstream": UP}), "Redis is not configured"),
    ],
)
def test_what_only_caches_less_is_a_restriction(answer: dict[str, Any], reason: str) -> None:
    found = verdict(answer, [], "", "")
    assert found["state"] == "limited"
    assert found["reasons"][0].startswith(reason)


def test_a_service_with_an_upstream_of_its_own_counts_as_the_media_service_does() -> None:
    lost, failing = verdict(told(), shop(False, "not connected"), "", ""), verdict(told(), shop(True, "fails"), "", "")
    assert lost["reasons"] == ["shop.Products at shop:50055 cannot be reached: only stored answers are served."]
    assert failing["reasons"] == ["shop.Products at shop:50055 answers with failures."]
    assert lost["state"] == failing["state"] == "wrong"


def test_wrong_settings_and_a_refused_policy_are_wrong_and_come_first() -> None:
    answer = told(dependencies={"upstream": LOST})
    found = verdict(answer, [], "nothing is cached: REDIS_ADDR: 'x' is not understood", "p.yaml:1:1: is empty")
    assert found["reasons"] == [
        "A setting is wrong, so nothing is cached: REDIS_ADDR: 'x' is not understood.",
        "The policy has changed but cannot be used; the previous one stays in effect: p.yaml:1:1: is empty.",
        "The media service is lost: only stored answers are served.",
    ]
