"""The nouns of a unary call, free of any transport: `Call` goes in, `Reply` comes out.

They are never changed, but not `frozen` either, like all objects that are made for each hit: a frozen dataclass takes
five times as long to make, 3 us of a hit in all.

A *transport* (grpc.aio today) turns what arrives on its wire into a `Call`, hands it to a `Handler` and writes the
`Reply`. Bodies are serialized messages; nothing here parses them.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from grpc import StatusCode

Metadata = tuple[tuple[str, str | bytes], ...]
"""Pairs in order, duplicates kept; values of `-bin` keys are bytes, all others text."""


@dataclass(slots=True)
class Call:
    """One unary request. `deadline` is in seconds of `time.monotonic`; None: the caller set none."""

    method: str
    """Fully qualified, as on the wire: `/shop.Products/Get`."""
    body: bytes
    metadata: Metadata = ()
    deadline: float | None = None
    looked: object = None
    """What the fast path of a hit found out before it was left; see `proxy.caching.hits`. None: nothing."""


@dataclass(slots=True)
class Reply:
    """One unary outcome: exactly one message when `code` is OK, none otherwise."""

    body: bytes | None = None
    code: StatusCode = StatusCode.OK
    details: str = ""
    initial_metadata: Metadata = ()
    """Empty: the other side sent none, and none is to be sent on."""
    trailing_metadata: Metadata = ()
    limit: str = ""
    """The proxy itself refused the call: the setting, or the name in `LIMITS`, whose limit was reached."""

    @property
    def ok(self) -> bool:
        """The gRPC status is OK and there is a message; `success` inside the message may still be false."""
        return self.code is StatusCode.OK and self.body is not None


Handler = Callable[[Call], Awaitable[Reply]]
"""Answers one unary method. It raises nothing but CancelledError: a failure is a Reply with its status."""
