"""Spellings of a text that a service compares case-insensitively, in a way that the proxy cannot know exactly.

PostgreSQL's `lower` depends on the database's locale: of `İ` it makes an `i`, or one with a dot above; of `I` in
Turkish one without a dot. To it, `ς` and `ß` are letters of their own, which Python folds. So a spelling on which not
all agree is not *plain*: an answer to it is never cached, and it names every tag that some would take it for.
"""

import unicodedata

_DOTLESS, _DOT_ABOVE = "\N{LATIN SMALL LETTER DOTLESS I}", "\N{COMBINING DOT ABOVE}"


def is_plain(text: str) -> bool:
    """Whether every folding makes the same of it, in every locale: only then may an answer to it be cached."""
    if text.isascii():
        return True
    return len({text.casefold(), text.lower(), _letter_by_letter(text)}) == 1 and not any(map(_is_doubtful, text))


def foldings(text: str) -> tuple[str, ...]:
    """All that some locale makes of it, case-folded as Unicode has it first; of a plain one that alone."""
    folded = text.casefold()
    if is_plain(text):
        return (folded,)
    found = [folded, text.lower(), _letter_by_letter(text)]
    found += [other.replace(_DOT_ABOVE, "").replace(_DOTLESS, "i") for other in tuple(found)]
    return tuple(dict.fromkeys(found))


def _is_doubtful(letter: str) -> bool:
    """The letters with which a locale's own `I` and `i` are written; and those that are too new to be known here."""
    return letter in {_DOTLESS, _DOT_ABOVE} or unicodedata.category(letter) == "Cn"


def _letter_by_letter(text: str) -> str:
    """As the C library and PostgreSQL's own locales do it: each letter alone becomes one letter."""
    return "".join("i" if letter == "İ" else letter.lower() for letter in text)
