"""`Model`: whose files an answer holds, and so what an invalidation names."""

from dataclasses import dataclass
from typing import Self

INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Model:
    """A user, a product, anything that owns files. Two spellings of one type are one model (`User`, `user`)."""

    type: str
    """Case-folded: the media service compares it without regard to case, stored rows and events keep any case."""
    id: int
    """int64, exact."""

    @classmethod
    def of(cls, model_type: str, model_id: int) -> Self:
        """The model as callers and events spell it; ValueError when the id is no int64."""
        if model_id not in INT64:
            raise ValueError(f"model_id {model_id} is no int64")
        return cls(model_type.casefold(), model_id)

    def __str__(self) -> str:
        return f"{self.type}/{self.id}"


def subject(model_type: str, collection: str) -> str:
    """What log lines call a model's files: `user avatar` for a user's avatars, `model media` for everything else."""
    avatar = model_type.casefold() == "user" and collection in {"avatar", "avatars"}
    return "user avatar" if avatar else "model media"
