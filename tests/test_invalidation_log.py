"""The last invalidations: the newest first, and never more than a few."""

from proxy.media.model import Model
from proxy.telemetry.invalidation_log import MOST_REMEMBERED, InvalidationLog

USER, PRODUCT = Model("user", 1), Model("product", 2)


def test_the_newest_comes_first_with_when_and_by_what() -> None:
    now = iter((1.0, 2.0, 3.0))
    log = InvalidationLog(lambda: next(now))
    log.invalidated(USER, "event", "avatars")
    log.invalidated(PRODUCT, "write", "")
    log.flushed("asked for", 7)
    assert [(each.at, each.model, each.source, each.detail) for each in log] == [
        (3.0, None, "flush", "asked for; 7 models"),
        (2.0, PRODUCT, "write", ""),
        (1.0, USER, "event", "avatars"),
    ]


def test_the_last_of_a_model_is_its_own_or_a_flush() -> None:
    log = InvalidationLog(lambda: 0.0)
    assert log.last_of(USER) is None
    log.flushed("asked for", 7)
    log.invalidated(PRODUCT, "write", "")
    last = log.last_of(USER)
    assert last is not None
    assert last.source == "flush"
    log.invalidated(USER, "event", "avatars")
    last = log.last_of(USER)
    assert last is not None
    assert last.source == "event"


def test_it_is_bounded_in_number_and_in_what_each_holds() -> None:
    log = InvalidationLog()
    for number in range(MOST_REMEMBERED + 5):
        log.invalidated(Model("t" * 10_000, number), "event", "c" * 10_000)
    kept = list(log)
    assert len(kept) == MOST_REMEMBERED
    assert kept[0].model is not None
    assert kept[0].model.id == MOST_REMEMBERED + 4
    assert max(len(kept[0].model.type), len(kept[0].detail)) == 200


def test_half_a_character_out_of_an_event_can_be_written() -> None:
    log = InvalidationLog()
    log.invalidated(Model("\ud800", 1), "event", "a\udfff")
    (only,) = log
    assert (only.model_type, only.detail) == ("\\ud800", "a\\udfff")
    assert log.last_of(Model("\ud800", 1)) == only
