"""Verdicts of the checker that no schedule causes, and its counts."""

from dataclasses import replace

import pytest

from tests.consistency.checker import Asked, Checker, stamped

ASKED = Asked(1, caller="ann")


class TestChecker:
    def setup_method(self) -> None:
        self.now = 1000.0
        self.checker = Checker(lambda: self.now)

    def read(self, version: int, answered: Asked = ASKED) -> list[str]:
        """The kinds of violation of an answer."""
        self.checker.ended(self.checker.began(ASKED), stamped(answered, version))
        return [violation.partition(":")[0] for violation in self.checker.violations]

    def test_a_version_that_the_origin_never_had(self) -> None:
        self.checker.commit(ASKED.model)
        assert self.read(1) == []
        assert self.read(2) == ["newer"]

    @pytest.mark.parametrize(
        "other", [{"caller": ""}, {"page": 2}, {"collection": "images"}, {"model_type": "user"}, {"model_id": 2}]
    )
    def test_an_answer_to_another_request(self, other: dict[str, str | int]) -> None:
        assert self.read(0, replace(ASKED, **other)) == ["foreign"]  # type: ignore[arg-type]

    def test_a_read_that_began_before_the_acknowledgement_may_be_older(self) -> None:
        self.checker.commit(ASKED.model)
        begun = self.checker.began(ASKED)
        self.checker.applied(ASKED.model, 1, "acknowledged")
        self.checker.ended(begun, stamped(ASKED, 0))
        assert self.checker.violations == []
        assert self.read(0) == ["stale"]

    def test_stale_reads_are_counted_by_how_long_ago_the_first_commit_was_that_they_missed(self) -> None:
        for seconds, name in (
            (0.005, "within 10 ms"),
            (0.05, "within 100 ms"),
            (0.5, "within 1 s"),
            (5.0, "more than 1 s"),
        ):
            version = self.checker.commit(ASKED.model)
            self.now += seconds
            self.read(version - 1)
            assert self.checker.counts[f"stale {name} after the commit"] == 1, name
        assert self.checker.counts["stale"] == 4

    def test_a_read_that_misses_a_commit_of_too_long_ago_is_late_acknowledged_or_not(self) -> None:
        self.checker = Checker(lambda: self.now, within=5.0)
        self.checker.commit(ASKED.model)
        self.now += 4.9
        assert self.read(0) == []
        self.now += 0.2
        assert self.read(0) == ["late"]

    def test_an_excused_fault_counts_up_to_its_bound(self) -> None:
        self.checker = Checker(lambda: self.now, within=5.0)
        self.checker.commit(ASKED.model)
        with self.checker.excused(10.0):
            self.now += 14.9
            assert self.read(0) == []
            self.now += 0.2
            assert self.read(0) == ["late"]
        self.checker.commit(ASKED.model)
        with self.checker.excused(10.0):
            self.now += 3.0
        self.now += 4.9
        assert self.read(1) == ["late"]
        self.now += 0.2
        assert self.read(1) == ["late", "late"]

    def test_while_the_cache_is_split_only_what_was_acknowledged_before_binds(self) -> None:
        for _ in range(2):
            self.checker.commit(ASKED.model)
        self.checker.applied(ASKED.model, 1, "acknowledged")
        with self.checker.lenient(3.0):
            self.checker.applied(ASKED.model, 2, "acknowledged")
            assert self.read(1) == []
            assert self.read(0) == ["stale"]
        self.now += 2.9
        assert self.read(1) == ["stale"]
        self.now += 0.2
        assert self.read(1) == ["stale", "stale"]

    def test_what_was_broken_is_told_with_what_was_found(self) -> None:
        self.checker.during = "Redis slow"
        self.read(1)
        assert self.checker.found == {"newer, Redis slow": 1}
        assert self.checker.first == self.now
