"""proxy.policy.mistakes: the messages about a policy that cannot be used."""

from proxy.policy.mistakes import Mistake, Place, PolicyError, not_understood, shown, unknown


def test_mistakes_come_in_the_order_of_the_file_each_once() -> None:
    late, early = Mistake(Place("p.yaml", 10, 2), "b"), Mistake(Place("p.yaml", 9, 30), "a")
    assert str(PolicyError([late, early, late])) == "p.yaml:9:30: a\np.yaml:10:2: b"


def test_the_nearest_known_name_is_offered() -> None:
    assert unknown("key", "tll", ["tag", "ttl"]) == "unknown key 'tll'; did you mean 'ttl'? accepted: tag, ttl"
    assert unknown("key", "zzz", ["tag", "ttl"]) == "unknown key 'zzz'; accepted: tag, ttl"
    assert unknown("key", "zzz", []) == "unknown key 'zzz'; accepted: none"


def test_what_was_found_is_shown_on_one_line_and_cut() -> None:
    assert not_understood("ttl", "a\nb", "1h") == "ttl: 'a\\nb' is not understood; accepted: 1h"
    assert len(shown("x" * 1000)) < 130
