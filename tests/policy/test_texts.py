"""proxy.policy.texts: what the own functions of expressions do with a text."""

from proxy.policy.texts import casefolded, foldings


def test_a_text_is_folded_and_never_cut() -> None:
    assert casefolded("Stra\N{LATIN SMALL LETTER SHARP S}e") == "strasse"
    assert casefolded("A\0B") == "a\ufffdb"
    assert foldings("A\0B") == ["a\ufffdb"]
