"""What the cache knows of a method whose answers are stored: `Read`, made by a policy, and what it says of messages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from proxy.calls.lifetime import TEMPORARY, UNLIMITED, Life
from proxy.calls.tags import UNDESCRIBED, Description


@dataclass(frozen=True, slots=True)
class Limits:
    """What a policy says of how answers of a read live; None: as the settings have it. Durations in seconds."""

    ttl: float | None = None
    stale_if_error: float | None = None
    stale_while_revalidate: float | None = None
    ttl_with_further_tags: float = 300.0
    max_entry_bytes: int | None = None
    vary: tuple[str, ...] | None = None
    keyed: bool = True
    """A fetch carries of the caller's metadata only what is in the key, tracing headers and `propagate`."""
    propagate: tuple[str, ...] = ()
    negative_ttl: Mapping[str, float] = field(default_factory=dict)
    """How long a status other than OK is kept, by its name; none is that is not there."""

    def longest_stale(self, default: float) -> float:
        """The longer of the two stale allowances; `default` is that of the settings."""
        given = [each for each in (self.stale_if_error, self.stale_while_revalidate) if each is not None]
        return max(given if len(given) == 2 else [default, *given])


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says."""

    tag: str
    """What its answer lies under."""
    canonical: bytes
    """The request, written so that two spellings of one message are the same bytes."""
    bypass: bool = False
    """It is forwarded, neither answered from the cache nor stored."""
    about: Description = UNDESCRIBED
    problem: str = ""
    """Why the policy could not tell, so that it is forwarded too."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer says of its own storage."""

    aliases: tuple[str, ...] = ()
    further_tags: tuple[str, ...] = ()
    life: Life = UNLIMITED
    """Of the presigned URLs in it."""
    negative: bytes = b""
    """The status that is stored in the place of a message; see `proxy.calls.entry`."""
    longest_ttl: float | None = None
    """Seconds that the origin lets it be kept; None: it says nothing of it."""


class Excess(str):
    """Why an answer is not stored that has more further tags than are taken."""

    __slots__ = ()


class Read(Protocol):
    """A read of a policy. None of its methods raises."""

    @property
    def service(self) -> str:
        """The service's full name."""

    @property
    def path(self) -> str:
        """As on the wire: `/shop.Products/Get`."""

    @property
    def kind(self) -> str:
        """What its tags are of, by the policy's own word; empty: only a tag tells."""

    @property
    def digest(self) -> bytes:
        """Of what the policy says of this read: another one never serves what this one stored."""

    @property
    def limits(self) -> Limits: ...

    @property
    def dependent(self) -> bool:
        """Whether its answers may have further tags."""

    def asked(self, body: bytes) -> Asked | None:
        """What a request says; None where it is no such message, or has fields that the descriptors do not know."""

    def storable(self, request: bytes, response: bytes, temporary: float = TEMPORARY) -> Verdict | str:
        """What an OK answer to this request says of its storage, or why it is not to be stored.

        `temporary`: how long a URL that was signed with temporary credentials may be kept, in seconds.
        """

    def successful(self, request: bytes, response: bytes) -> bool:
        """Whether an OK answer counts as a success; true where nobody can tell."""

    def shown(self, body: bytes) -> Mapping[str, Any]:
        """The fields of a request by name, as JSON has them; empty where it is none."""

    def comparable(self, response: bytes) -> object:
        """What of an answer is the same each time it is fetched while nothing changes."""
