"""`WriteProbe`: an invalidation of an otherwise unused key, by which a server shows that it accepts invalidations.

A server that answers reads but refuses writes (a full disk, too few replicas, a forbidden command) cannot be
invalidated, so its entries cannot be trusted. Only the script itself reveals this: a server without free memory refuses
to store, but accepts invalidations.
"""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

_INTENT_MS = b"2000"  # bounds the intent if the second command is never sent
_MOST_TRIED = 100_000
"""Maximum number of key names that are tried until one is in a slot of the server: it may own only one of 16,384."""


@dataclass(slots=True)
class WriteProbe:
    """The probe of one server. `sha`, `source` and `limits` are the script's; `owns` says whether a key is here."""

    sha: bytes
    source: bytes
    prefix: bytes
    limits: tuple[bytes, ...]
    owns: Callable[[bytes], bool] = lambda key: True
    _key: bytes = b""

    def commands(self, run_id: bytes, *, known: bool = True) -> tuple[tuple[bytes, ...], ...]:
        """The commands to send: one sets a write intent, the other clears it. They contain the script's source if it is
        not `known` to the server. Empty if the server owns no key.
        """
        if not self._key or not self.owns(self._key):
            names = (b"%b{%d}" % (self.prefix, number) for number in range(_MOST_TRIED))
            self._key = next((name for name in names if self.owns(name)), b"")
        if not self._key:
            return ()
        call = (b"EVALSHA", self.sha) if known else (b"EVAL", self.source)
        intent = uuid4().hex.encode()
        begin = (*call, b"1", self._key, run_id, intent, b"0")
        return (*begin, intent, _INTENT_MS, b"", *self.limits), (*begin, b"", b"0", intent, *self.limits)
