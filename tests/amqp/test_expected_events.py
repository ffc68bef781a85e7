"""Writes and their own events, with scripted notes; `tests/store/test_event_record.py` has the real ones."""

import pytest

from proxy.amqp.expected_events import ExpectedEvents


class Notes:
    """Notes whose content the test sets."""

    def __init__(self, **told: bool | None) -> None:
        self.told = told

    async def answered(self, tag: str, intent: bytes) -> bool | None:
        return self.told[f"{tag.partition('/')[0]}_{intent.decode()}"]


@pytest.fixture
def owed() -> ExpectedEvents:
    return ExpectedEvents()


async def test_a_write_is_judged_once_and_not_too_soon(owed: ExpectedEvents) -> None:
    notes = Notes(user_a=True, user_b=True)
    owed.wrote(("user/1",), b"a", 100.0)
    owed.wrote(("user/1",), b"b", 101.0)
    assert await owed.judged(notes, 99.9) == []
    assert await owed.judged(notes, 100.0) == [True]
    assert await owed.judged(notes, 101.0) == [True]
    assert await owed.judged(notes, 999.0) == []


async def test_one_that_lacks_its_event_counts_where_such_events_come(owed: ExpectedEvents) -> None:
    notes = Notes(user_a=False, page_b=False)
    owed.heard(("user/7",))
    owed.wrote(("user/1",), b"a", 100.0)
    owed.wrote(("page/1",), b"b", 100.0)  # no event has ever named a tag of this kind
    assert await owed.judged(notes, 112.0, heard_at=105.0) == [False]


async def test_it_says_nothing_where_no_event_has_come_since(owed: ExpectedEvents) -> None:
    """Then all services are mute, or had nothing to publish."""
    owed.heard(("user/7",))
    owed.wrote(("user/1",), b"a", 100.0)
    assert await owed.judged(Notes(user_a=False), 112.0, heard_at=99.0) == []


@pytest.mark.parametrize(
    ("user", "page", "judged"),
    [(True, False, [True]), (False, False, [False]), (False, None, []), (None, True, [True])],
)
async def test_of_several_tags_one_that_is_named_is_enough(
    owed: ExpectedEvents, user: bool | None, page: bool | None, judged: list[bool]
) -> None:
    owed.heard(("user/7", "page/7"))
    owed.wrote(("user/1", "page/1"), b"a", 100.0)
    assert await owed.judged(Notes(user_a=user, page_a=page), 112.0, heard_at=105.0) == judged


async def test_a_note_that_is_gone_says_nothing(owed: ExpectedEvents) -> None:
    owed.heard(("user/7",))
    owed.wrote(("user/1",), b"a", 100.0)
    assert await owed.judged(Notes(user_a=None), 112.0, heard_at=105.0) == []


async def test_what_is_forgotten_is_not_judged(owed: ExpectedEvents) -> None:
    owed.wrote(("user/1",), b"a", 100.0)
    owed.forget()
    owed.wrote((), b"b", 100.0)  # a write without tags
    assert await owed.judged(Notes(), 112.0) == []


async def test_what_is_kept_is_bounded(owed: ExpectedEvents) -> None:
    for number in range(2000):
        owed.heard((f"kind{number}/1",))
        owed.wrote(("user/1",), b"a", 100.0)
    assert len(await owed.judged(Notes(user_a=True), 112.0)) == 64
    assert len(owed._kinds) == 1000
