"""`Read`: what the cache knows about a method whose answers are stored, and what the policy says about its messages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from proxy.calls.lifetime import TEMPORARY, UNLIMITED, Life
from proxy.calls.tags import UNDESCRIBED, Description


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a read's answers live, as the policy says; None means the setting applies. Durations are in seconds."""

    ttl: float | None = None
    stale_if_error: float | None = None
    stale_while_revalidate: float | None = None
    ttl_with_further_tags: float = 300.0
    max_entry_bytes: int | None = None
    vary: tuple[str, ...] | None = None
    keyed: bool = True
    """Of the caller's metadata, a fetch carries only what is in the key, tracing headers and `propagate`."""
    propagate: tuple[str, ...] = ()
    negative_ttl: Mapping[str, float] = field(default_factory=dict)
    """How long each status other than OK is kept, by its name; any other status is not stored."""

    def longest_stale(self, default: float) -> float:
        """The longer of the two stale allowances in seconds; `default` is the one of the settings."""
        given = [each for each in (self.stale_if_error, self.stale_while_revalidate) if each is not None]
        return max(given if len(given) == 2 else [default, *given])


@dataclass(frozen=True, slots=True)
class Asked:
    """What the policy says about a request."""

    tag: str
    """The tag that its answer is stored under."""
    canonical: bytes
    """The request in canonical form: two encodings of one message are the same bytes."""
    bypass: bool = False
    """The request is forwarded; it is not answered from the cache and its answer is not stored."""
    about: Description = UNDESCRIBED
    problem: str = ""
    """Why the policy could not evaluate the request, which is then forwarded too; empty if it could."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an answer may be stored."""

    aliases: tuple[str, ...] = ()
    further_tags: tuple[str, ...] = ()
    life: Life = UNLIMITED
    """How long the presigned URLs in it may be served."""
    negative: bytes = b""
    """The status that is stored instead of a message; see `proxy.calls.entry`."""
    longest_ttl: float | None = None
    """The longest time in seconds that it may be kept; None if neither the origin nor `negative_ttl` bounds it."""


class Excess(str):
    """The reason why an answer is not stored if it has too many further tags."""

    __slots__ = ()


class Read(Protocol):
    """A read of a policy. None of its methods raises."""

    @property
    def service(self) -> str:
        """The service's full name."""

    @property
    def path(self) -> str:
        """The path on the wire, like `/shop.Products/Get`."""

    @property
    def kind(self) -> str:
        """The kind of its tags, such as `product`: what its expression begins with, or empty if that is no literal."""

    @property
    def digest(self) -> bytes:
        """A hash of what the policy says about this read. An entry stored under another one is never served."""

    @property
    def limits(self) -> Limits: ...

    @property
    def dependent(self) -> bool:
        """Whether its answers may have further tags."""

    def asked(self, body: bytes) -> Asked | None:
        """What the policy says about a request; None if it cannot be parsed or has unknown fields."""

    def storable(self, request: bytes, response: bytes, temporary: float = TEMPORARY) -> Verdict | str:
        """How the OK answer to this request may be stored, or the reason why it may not be.

        `temporary` is how long a URL signed with temporary credentials may be kept, in seconds.
        """

    def successful(self, request: bytes, response: bytes) -> bool:
        """Whether an OK answer counts as a success; true if the policy cannot tell."""

    def shown(self, body: bytes) -> Mapping[str, Any]:
        """The fields of a request by name, in protobuf's JSON mapping; empty if `asked` would give None."""

    def comparable(self, response: bytes) -> object:
        """The answer without the signatures of its presigned URLs: it compares equal until the data changes."""
