"""proxy.policy.texts: what expressions make of a text by functions of ours."""

from proxy.policy.texts import casefolded, foldings


def test_a_text_is_folded_and_never_cut() -> None:
    assert casefolded("Stra\N{LATIN SMALL LETTER SHARP S}e") == "strasse"
    assert casefolded("A\0B") == "a\ufffdb"
    assert foldings("A\0B") == ["a\ufffdb"]
