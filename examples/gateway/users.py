"""`Person`: the users, made up from their ids, and the same at each start. Avatars are not part of them."""

from dataclasses import dataclass

_FIRST = ("John", "Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Radia")
_LAST = ("Doe", "Miller", "Novak", "Silva", "Tanaka", "Okafor", "Larsen")
_JOHN_DOE = 123


@dataclass(frozen=True, slots=True)
class Person:
    """A user with a name and an e-mail address."""

    id: int
    name: str
    email: str

    @classmethod
    def with_id(cls, user_id: int) -> "Person":
        """Returns the user with this id; 123 is John Doe."""
        first, last = _FIRST[(user_id - _JOHN_DOE) % len(_FIRST)], _LAST[(user_id - _JOHN_DOE) % len(_LAST)]
        return cls(user_id, f"{first} {last}", f"{first.lower()}@example.com")
