"""`Model`: the owner of the files in an answer of the media service, as the tag `user/123`."""

from typing import Self

from proxy.calls.tags import Description, Plain
from proxy.policy.spellings import foldings

INT64 = range(-(2**63), 2**63)
_AVATARS = frozenset({"avatar", "avatars"})


class Model(str):
    """A user, a product, anything that owns files. Types that differ only in case (`User`, `user`) are one model."""

    also: tuple[str, ...] = ()
    """Other types that this spelling may mean to the media service; empty if it is plain."""

    @classmethod
    def of(cls, model_type: str, model_id: int) -> Self:
        """The model of a type, in any spelling, and an id; raises ValueError if the id is not an int64."""
        if model_id not in INT64:
            raise ValueError(f"model_id {model_id} is not an int64")
        folded, *others = foldings(model_type)
        made = cls(f"{folded}/{model_id}")
        made.also = tuple(others)
        return made

    @property
    def all(self) -> tuple[Self, ...]:
        """Every model that an invalidation of this one must reach, itself first."""
        return (self, *(type(self)(f"{other}/{self.id}") for other in self.also))

    @property
    def type(self) -> str:
        """The type, case-folded: the media service ignores its case, while stored rows and events keep any case."""
        return self.rpartition("/")[0]

    @property
    def id(self) -> int:
        """The id, an exact int64."""
        return int(self.rpartition("/")[2])

    def described(self, collection: str) -> Description:
        """What log lines call its files in a collection: `user avatar` for a user's avatars, else `model media`."""
        return described(self.type, self.type, self.id, collection)


def described(folded: str, model_type: str, model_id: int, collection: str) -> Description:
    """What log lines call a model's files. `folded` is its case-folded type, `model_type` the type that they show."""
    avatar = folded == "user" and collection in _AVATARS
    fields: dict[str, Plain] = {"model_type": model_type, "model_id": model_id, "collection": collection}
    return Description("user avatar" if avatar else "model media", fields)
