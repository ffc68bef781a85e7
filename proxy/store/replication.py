"""`Replication`: a server's role as INFO shows it; `Following`: whether a master still is one.

A deposed master is the last to know: it continues as a master for some ten seconds, and writes of that time are lost
when it is demoted. But its replicas leave it at once, or cannot reach it. Rules, for a replica that has acknowledged
something (a tool that only reads the stream never does):
    gone     it is no longer online: it may be the new master. The server is not trusted.
    silent   it is online and has acknowledged nothing for 3 s: new writes are confirmed later
    settled  the address has led a new connection to the same server, some time after that: the replica is forgotten
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

log = logging.getLogger(__name__)

_SILENT_FROM = 3
"""Seconds. A replica acknowledges each second, and INFO counts whole ones."""
_AT_LAST = 60.0
"""Seconds after which a server that nobody contradicts is believed."""
_HISTORY = re.compile(rb"^master_replid:([0-9a-f]+)", re.MULTILINE)
_REPLICA = re.compile(rb"^slave\d+:(.*?)\r?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Replication:
    """One answer to INFO."""

    master: bool
    history: bytes
    """The id of the replication history, another one with each promotion; empty where the server tells none."""
    replicas: Mapping[str, int]
    """Those online that have acknowledged anything: seconds since they last did."""

    @classmethod
    def told(cls, info: bytes) -> "Replication":
        """Out of an INFO that holds the section `replication`."""
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
    """Of one server. Pure: times of `time.monotonic` are passed in. `settling`: seconds after which the address' word
    counts; `by_itself`: a server without replicas is believed without it.
    """

    settling: float
    by_itself: bool
    sure_at: float
    """When it was last certain that this is the master."""
    _known: set[str] = field(default_factory=set)
    _gone: dict[str, float] = field(default_factory=dict)
    _silent: dict[str, float] = field(default_factory=dict)

    @property
    def watched(self) -> bool:
        """Whether there are replicas to go by."""
        return bool(self._known)

    @property
    def doubt(self) -> str:
        """Why the server may not be the master any more; empty: it is."""
        return (
            f"its replica {next(iter(self._gone))} has left it: it may not be the master any more" if self._gone else ""
        )

    @property
    def unproven(self) -> str:
        """Why what is written now is not confirmed yet; empty: it is."""
        if self._silent:
            return f"its replica {next(iter(self._silent))} has acknowledged nothing for {_SILENT_FROM} s"
        return self.doubt

    def seen(self, told: Replication, now: float) -> None:
        """What the server told, asked at `now`."""
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
        """The address led a connection that was begun then to this very server, as a master."""
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
