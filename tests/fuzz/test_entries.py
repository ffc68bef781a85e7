"""Stored bytes: an answer comes back as it was stored, for the request it was stored for, or not at all (I6)."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from proxy.calls import entry
from tests.fuzz.budget import budget, damaged

times = st.integers(0, 2**53)
identities = st.binary(max_size=40) | st.text(max_size=9).map(lambda text: f"{len(text)}:{text}6:avatar".encode())
run_ids = st.text("0123456789abcdef", min_size=40, max_size=40).map(str.encode)


@dataclass(frozen=True)
class Stored:
    """What was asked and answered, and its bytes as fill.lua writes them."""

    run_id: bytes
    identity: bytes
    found: entry.Entry

    @property
    def line(self) -> bytes:
        times = self.found.born_ms, self.found.fresh_until_ms, self.found.stale_until_ms
        return b"1 %b %d %d %d " % (self.run_id, *times)

    @property
    def value(self) -> bytes:
        return self.line + entry.tail(self.identity, self.found.body)

    def decoded(self, value: object) -> entry.Entry | None:
        return entry.decode(value, run_id=self.run_id, identity=self.identity)


entries = st.builds(entry.Entry, st.binary(max_size=200), times, times, times)
stored = st.builds(Stored, run_ids, identities, entries)


@budget(200)
@given(stored)
def test_what_was_stored_comes_back(one: Stored) -> None:
    assert one.decoded(one.value) == one.found


@budget(800)
@given(st.data(), stored)
def test_damage_is_a_miss_or_no_damage(data: st.DataObject, one: Stored) -> None:
    value = data.draw(damaged(one.value))
    found = one.decoded(value)
    if found is not None:
        assert found.body == one.found.body
        # The checksum is made before the times are known; an entry whose times were changed is the same answer.
        assert found == one.found or not value.startswith(one.line)


@budget(300)
@given(st.data(), stored, entries)
def test_another_requests_entry_is_a_miss(data: st.DataObject, one: Stored, other: entry.Entry) -> None:
    """As swapped fields, or a hash that names two requests alike, would have it."""
    identity = data.draw(identities | damaged(one.identity))
    value = Stored(one.run_id, identity, other).value
    assert (one.decoded(value) is None) == (identity != one.identity)


@budget(150)
@given(st.data(), stored)
def test_the_entry_of_another_redis_process_is_a_miss(data: st.DataObject, one: Stored) -> None:
    run_id = data.draw(run_ids | damaged(one.run_id).filter(lambda changed: changed != one.run_id))
    found = entry.decode(one.value, run_id=run_id, identity=one.identity)
    assert (found is None) == (run_id != one.run_id)


@budget(300)
@given(stored, stored, st.integers(0, 300), st.integers(0, 300))
def test_two_entries_spliced_are_a_miss_or_one_of_them(one: Stored, two: Stored, head: int, tail: int) -> None:
    found = one.decoded(one.value[:head] + two.value[-tail:])
    assert found is None or found.body == one.found.body or one.identity == two.identity


@budget(150)
@given(stored, st.binary(max_size=60), st.none() | st.integers() | st.text() | st.lists(st.binary(max_size=9)))
def test_whatever_else_redis_answers_is_a_miss(one: Stored, junk: bytes, other: object) -> None:
    assert one.decoded(other) is None
    assert one.decoded(junk) is None
    assert one.decoded(b"1 " + one.run_id + b" " + junk) is None
