"""`Model`: whose files an answer holds, and so what an invalidation names.

The media service compares types by PostgreSQL's `lower`, and what that makes of a letter depends on the database's
locale: of `İ` an `i`, or one with a dot above; of `I` in Turkish one without a dot. To it, `ς` and `ß` are letters of
their own, which Python folds. So a spelling on which not all agree is not *plain*: an answer to it is never cached, and
it names every model that some of them would take it for (`also`).
"""

import unicodedata
from dataclasses import dataclass, field
from typing import Self

_DOTLESS, _DOT_ABOVE = "\N{LATIN SMALL LETTER DOTLESS I}", "\N{COMBINING DOT ABOVE}"
INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Model:
    """A user, a product, anything that owns files. Two spellings of one type are one model (`User`, `user`)."""

    type: str
    """Case-folded: the media service compares it without regard to case, stored rows and events keep any case."""
    id: int
    """int64, exact."""
    also: tuple[str, ...] = field(default=(), compare=False)
    """Other types that the media service may take this spelling for; empty for one that is plain."""

    @classmethod
    def of(cls, model_type: str, model_id: int) -> Self:
        """The model as callers and events spell it; ValueError when the id is no int64."""
        if model_id not in INT64:
            raise ValueError(f"model_id {model_id} is no int64")
        folded = model_type.casefold()
        return cls(folded, model_id) if is_plain(model_type) else cls(folded, model_id, _also(model_type, folded))

    @property
    def all(self) -> tuple[Self, ...]:
        """Every model that an invalidation of this one must reach, itself first."""
        return (self, *(type(self)(other, self.id) for other in self.also))

    def __str__(self) -> str:
        return f"{self.type}/{self.id}"


def is_plain(model_type: str) -> bool:
    """Whether every folding makes the same of it, in every locale: only then may an answer to it be cached."""
    if model_type.isascii():
        return True
    foldings = {model_type.casefold(), model_type.lower(), _letter_by_letter(model_type)}
    return len(foldings) == 1 and not any(map(_is_doubtful, model_type))


def _is_doubtful(letter: str) -> bool:
    """The letters with which a locale's own `I` and `i` are written; and those that are too new to be known here."""
    return letter in {_DOTLESS, _DOT_ABOVE} or unicodedata.category(letter) == "Cn"


def _also(model_type: str, folded: str) -> tuple[str, ...]:
    foldings = [model_type.lower(), _letter_by_letter(model_type)]
    foldings += [other.replace(_DOT_ABOVE, "").replace(_DOTLESS, "i") for other in (folded, *foldings)]
    return tuple(other for other in dict.fromkeys(foldings) if other != folded)


def _letter_by_letter(text: str) -> str:
    """As the C library and PostgreSQL's own locales do it: each letter alone becomes one letter."""
    return "".join("i" if letter == "İ" else letter.lower() for letter in text)


def subject(model_type: str, collection: str) -> str:
    """What log lines call a model's files: `user avatar` for a user's avatars, `model media` for everything else."""
    avatar = model_type.casefold() == "user" and collection in {"avatar", "avatars"}
    return "user avatar" if avatar else "model media"
