"""Spellings of a text that a service compares case-insensitively, in a way that the proxy cannot know exactly.

PostgreSQL's `lower` depends on the database's locale: it turns `İ` into `i`, or into `i` with a dot above; in Turkish
it turns `I` into an `i` without a dot. It keeps `ς` and `ß`, which Python folds. So a spelling that may be folded in
more than one way is not *plain*: an answer to it is never cached, and an invalidation names the tag of every form.
"""

import unicodedata

_DOTLESS, _DOT_ABOVE = "\N{LATIN SMALL LETTER DOTLESS I}", "\N{COMBINING DOT ABOVE}"


def is_plain(text: str) -> bool:
    """Whether all foldings in all locales give the same text: only then may an answer to it be cached."""
    if text.isascii():
        return True
    return len({text.casefold(), text.lower(), _letter_by_letter(text)}) == 1 and not any(map(_is_doubtful, text))


def foldings(text: str) -> tuple[str, ...]:
    """All forms that some locale gives, Unicode's case folding first; for a plain text, only that one."""
    folded = text.casefold()
    if is_plain(text):
        return (folded,)
    found = [folded, text.lower(), _letter_by_letter(text)]
    found += [other.replace(_DOT_ABOVE, "").replace(_DOTLESS, "i") for other in tuple(found)]
    return tuple(dict.fromkeys(found))


def _is_doubtful(letter: str) -> bool:
    """Whether locales fold a letter differently (an `i` without a dot, a dot above), or Python's tables lack it."""
    return letter in {_DOTLESS, _DOT_ABOVE} or unicodedata.category(letter) == "Cn"


def _letter_by_letter(text: str) -> str:
    """Lower case as the C library and PostgreSQL's own locales have it: each letter becomes exactly one letter."""
    return "".join("i" if letter == "İ" else letter.lower() for letter in text)
