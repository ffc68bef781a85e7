"""`Permissions`: logs which commands Redis refuses to the proxy's user (NOPERM) or does not have, and what to grant.

A refusal is a normal reply, so the connection stays and every call is a miss; without a log line nobody would know why.
Rules:
    refused   one line per command or script, at its first refusal
    granted   one line once all refused commands have worked again; a later refusal is logged again. A script may
              happen to work without the command that it lacks, so it counts only 2 s after its last refusal
"""

import logging
import re
import time
from collections.abc import Callable, Sequence
from hashlib import sha1

from redis.exceptions import NoPermissionError

from proxy.reasons import in_words

log = logging.getLogger(__name__)

_NAMED = re.compile(r"run the '([^']+)' command")
_IN_A_SCRIPT = ("The user executing the script", "ACL failure in script")
"""How Redis and Valkey begin a refusal inside a script."""
_OF_KEYS = re.compile(r"\bkeys?\b")
"""Redis writes "one of the keys used as arguments", Valkey "a key"."""
_OF_SCRIPTS = frozenset((b"EVALSHA", b"EVAL"))
_UNKNOWN = re.compile(r"unknown (?:redis )?command", re.IGNORECASE)
_SETTLED = 2.0  # seconds
_CALLS = re.compile(rb"redis\.p?call\('(\w+)'")


class Permissions:
    """What one connection's user may do. `scripts` are the sources of the scripts that are called by their SHA-1."""

    def __init__(self, scripts: Sequence[bytes], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._inside = {sha1(each, usedforsecurity=False).hexdigest().encode(): _commands(each) for each in scripts}
        self._refused: dict[tuple[bytes, ...], str] = {}
        self._refused_at: dict[tuple[bytes, ...], float] = {}
        self.missing = ""
        """The first refusal that still holds, and what to do about it; empty if there is none. Read for each reply."""

    def refused(self, command: tuple[bytes, ...], error: Exception) -> None:
        """Takes an error of any kind that Redis replied with, and the first two words of the command."""
        if not _is_refusal(error):
            return
        self._refused_at[command] = self._clock()
        if command in self._refused:
            return
        what = f"Redis refuses one of the proxy's commands ({in_words(error)[:200]}): {self._remedy(command, error)}"
        self._refused[command] = what
        self._tell()
        log.warning("%s", what, extra={"dependency": "redis", "command": command[0].decode()})

    def worked(self, command: tuple[bytes, ...]) -> None:
        """Takes the first two words of a command that Redis carried out."""
        if command not in self._refused:
            return
        if command[0] in _OF_SCRIPTS and self._clock() - self._refused_at[command] < _SETTLED:
            return
        del self._refused[command], self._refused_at[command]
        self._tell()
        if not self._refused:
            log.info("Redis no longer refuses any of the proxy's commands", extra={"dependency": "redis"})

    def _tell(self) -> None:
        self.missing = next(iter(self._refused.values()), "")

    def _remedy(self, command: tuple[bytes, ...], error: Exception) -> str:
        text = str(error)
        if _UNKNOWN.search(text):
            inside = self._inside.get(command[-1], ()) if "script" in text else ()
            return f"the server must have {' '.join(inside) or command[0].decode().lower()}"
        named = _NAMED.search(text)
        if named is not None:
            return f"grant +{named[1]} to the user in REDIS_ADDR (ACL SETUSER)"
        if _OF_KEYS.search(text):
            return "grant it the keys of CACHE_NAMESPACE (ACL SETUSER, ~media:* by default)"
        grants = " ".join(f"+{name}" for name in self._inside.get(command[-1], ()))
        return f"grant all of {grants or 'its commands'} to the user in REDIS_ADDR (ACL SETUSER; ACL LOG names the one)"


def _is_refusal(error: Exception) -> bool:
    text = str(error)
    return isinstance(error, NoPermissionError) or text.startswith(_IN_A_SCRIPT) or _UNKNOWN.search(text) is not None


def _commands(script: bytes) -> tuple[str, ...]:
    return tuple(sorted({name.decode().lower() for name in _CALLS.findall(script)}))
