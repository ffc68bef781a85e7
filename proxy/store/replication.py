"""`Replication`: a server's role as INFO shows it; `Following`: whether a master still is one.

A deposed master does not notice at first: it continues as a master for some ten seconds, and writes of that time are
lost when it is demoted. But its replicas leave it at once, or cannot reach it. Rules, for a replica that has
acknowledged something (a tool that only reads the stream never does):
    gone     it is no longer online and may be the new master: the server is not trusted
    silent   it is online but has acknowledged nothing for 3 s: new writes are not confirmed yet
    settled  some time later, the address has led a new connection to the same server: the replica is forgotten
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

log = logging.getLogger(__name__)

_SILENT_FROM = 3
"""Seconds. A replica acknowledges every second, and INFO reports whole seconds."""
_AT_LAST = 60.0
"""Seconds after which the server is trusted again even if no new connection has confirmed it."""
_HISTORY = re.compile(rb"^master_replid:([0-9a-f]+)", re.MULTILINE)
_REPLICA = re.compile(rb"^slave\d+:(.*?)\r?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Replication:
    """One reply to INFO."""

    master: bool
    history: bytes
    """The id of the replication history, which changes with each promotion; empty if the server reports none."""
    replicas: Mapping[str, int]
    """For each replica (`host:port`) that is online and has acknowledged anything: seconds since it last did."""

    @classmethod
    def told(cls, info: bytes) -> "Replication":
        """Parses a reply to INFO that contains the section `replication`."""
        found = _HISTORY.search(info)
        history = found[1] if found is not None else b""
        return cls(b"role:master" in info, history, dict(filter(None, map(_replica, _REPLICA.findall(info)))))


def _replica(line: bytes) -> tuple[str, int] | None:
    values = dict(each.split("=", 1) for each in line.decode(errors="replace").split(",") if "=" in each)
    try:
        if values.get("state") != "online" or int(values.get("offset", "1")) <= 0:
            return None
        return f"{values['ip']}:{values['port']}", int(values.get("lag", "0"))
    except (KeyError, ValueError):
        return None


@dataclass(slots=True)
class Following:
    """The state of one server. Pure: times of `time.monotonic` are passed in."""

    settling: float
    """Seconds after which a new connection to the address outweighs missing replicas."""
    by_itself: bool
    """Whether a server without replicas counts as the master without such a connection."""
    sure_at: float
    """When it was last certain that this is the master."""
    _known: set[str] = field(default_factory=set)
    _gone: dict[str, float] = field(default_factory=dict)
    _silent: dict[str, float] = field(default_factory=dict)

    @property
    def watched(self) -> bool:
        """Whether there are replicas to judge by."""
        return bool(self._known)

    @property
    def doubt(self) -> str:
        """Why the server may not be the master any more; empty if it is."""
        return (
            f"its replica {next(iter(self._gone))} has left it: it may not be the master any more" if self._gone else ""
        )

    @property
    def unproven(self) -> str:
        """Why what is written now cannot be confirmed yet; empty if it can."""
        if self._silent:
            return f"its replica {next(iter(self._silent))} has acknowledged nothing for {_SILENT_FROM} s"
        return self.doubt

    def seen(self, told: Replication, now: float) -> None:
        """Takes what the server reported when it was asked at `now`."""
        for name, lag in told.replicas.items():
            if lag < _SILENT_FROM:
                self._known.add(name)
        for name in self._known:
            lag = told.replicas.get(name, -1)
            _keep(self._gone, name, now, lag < 0)
            _keep(self._silent, name, now, lag >= _SILENT_FROM)
        if (self._known or self.by_itself) and not self._gone and not self._silent:
            self.sure_at = now
        if any(now - since > _AT_LAST for since in (*self._gone.values(), *self._silent.values())):
            self._forget(now)

    def confirmed(self, asked_at: float) -> None:
        """A connection to the address, begun at `asked_at`, has reached this server, and it is a master."""
        missing = (*self._gone.values(), *self._silent.values())
        if all(asked_at - since >= self.settling for since in missing):
            self._forget(asked_at)
            self.sure_at = asked_at

    def _forget(self, now: float) -> None:
        missing = {*self._gone, *self._silent}
        if missing:
            names = ", ".join(sorted(missing))
            log.warning(
                "Redis is still the master; invalidations no longer wait for its replica %s",
                names,
                extra={"dependency": "redis"},
            )
        self._known -= missing
        self._gone.clear()
        self._silent.clear()


def _keep(since: dict[str, float], name: str, now: float, so: bool) -> None:
    if so:
        since.setdefault(name, now)
    else:
        since.pop(name, None)
