"""Refusals say what is wrong where, and what to do."""

from proxy.injector.refusal import Refused, annotation, nearest


def test_a_refusal_is_one_line() -> None:
    refused = Refused("mode", annotation("mode"), "is wrong; set native")
    assert (refused.reason, str(refused)) == ("mode", "media-cache-proxy.io/mode: is wrong; set native")


def test_the_nearest_known_word_or_all_of_them() -> None:
    assert nearest("cach-ttl", ["inject", "cache-ttl"]) == "did you mean cache-ttl?"
    assert nearest("zzz", ["inject", "port"]) == "known: inject, port"
