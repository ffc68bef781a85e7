"""The last invalidations: the newest first, and never more than a few."""

from proxy.policy.builtin.model import Model
from proxy.telemetry.invalidation_log import MOST_REMEMBERED, InvalidationLog

USER, PRODUCT = Model.of("user", 1), Model.of("product", 2)


def test_the_newest_comes_first_with_when_and_by_what() -> None:
    now = iter((1.0, 2.0, 3.0))
    log = InvalidationLog(lambda: next(now))
    log.invalidated(USER, "event", Model.of("any", 1).described("avatars"))
    log.invalidated(PRODUCT, "write", Model.of("any", 1).described(""))
    log.flushed("asked for", 7)
    assert [(each.at, each.tag, each.source, each.detail) for each in log] == [
        (3.0, None, "flush", "asked for; 7 models"),
        (2.0, PRODUCT, "write", ""),
        (1.0, USER, "event", "avatars"),
    ]


def test_the_last_of_a_model_is_its_own_or_a_flush() -> None:
    log = InvalidationLog(lambda: 0.0)
    assert log.last_of(USER) is None
    log.flushed("asked for", 7)
    log.invalidated(PRODUCT, "write", Model.of("any", 1).described(""))
    last = log.last_of(USER)
    assert last is not None
    assert last.source == "flush"
    log.invalidated(USER, "event", Model.of("any", 1).described("avatars"))
    last = log.last_of(USER)
    assert last is not None
    assert last.source == "event"


def test_it_is_bounded_in_number_and_in_what_each_holds() -> None:
    log = InvalidationLog()
    for number in range(MOST_REMEMBERED + 5):
        log.invalidated(Model.of("t" * 10_000, number), "event", Model.of("any", 1).described("c" * 10_000))
    kept = list(log)
    assert len(kept) == MOST_REMEMBERED
    assert kept[0].tag is not None
    assert max(len(kept[0].tag), len(kept[0].detail)) == 512
    assert len(kept[0].detail) == 200


def test_half_a_character_out_of_an_event_can_be_written() -> None:
    log = InvalidationLog()
    log.invalidated(Model.of("\ud800", 1), "event", Model.of("any", 1).described("a\udfff"))
    (only,) = log
    assert (only.kind, only.detail) == ("\\ud800", "a\\udfff")
    assert log.last_of(Model.of("\ud800", 1)) == only
