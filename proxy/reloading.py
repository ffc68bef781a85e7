"""`Reloading`: puts a changed policy into effect while the proxy serves.

1. It looks at the policy's file and its descriptors every two seconds; they may be mounted from a ConfigMap.
2. After a change it reads and checks the whole policy, in a thread. If that has a mistake, nothing changes.
3. Calls that begin from then on use the new policy: first the core takes it up, then the transport, then the events.
   Calls in progress continue with the previous policy.
4. A policy that cannot be used is tried again every ten seconds even if it has not changed, since its descriptors may
   come by reflection from a server that is away. The same goes for a policy that could not be used at the start
   (ON_BAD_SETTINGS=forward).
5. If the new policy has other writes or events, everything is flushed, since these have not removed stored answers. A
   write that the previous policy only forwarded may still be in progress, so there is a second flush after it.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path

from proxy.core import Core, policy_by
from proxy.errors import SettingError
from proxy.policy.compiled import Policy
from proxy.policy.mistakes import PolicyError
from proxy.policy.watched import Watched
from proxy.served import Served
from proxy.settings.config import Settings
from proxy.settings.tolerance import ROUTES_OF
from proxy.telemetry.policy_reloads import PolicyReloads

log = logging.getLogger(__name__)

LOOK_EVERY = 2.0
"""Seconds between two looks at the files."""
_AGAIN_EVERY = 10.0
"""Seconds between two attempts to use a policy that cannot be used."""
_LONGEST_WRITE = 60.0
"""Seconds until the second flush if CALL_TIMEOUT is 0, so that calls have no maximum duration."""
_REASON = "the policy's writes or events have changed"

TakeUp = Callable[[Served], Awaitable[Iterable[str]]]
"""Puts a new policy into effect in one part of the proxy; returns what of it waits for the next start."""


class Reloading:
    """Must be made inside the event loop. `take_up` are the other parts that take up a policy after the core."""

    def __init__(
        self,
        settings: Settings,
        core: Core,
        observer: PolicyReloads,
        take_up: Iterable[TakeUp],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = replace(settings, policy=settings.policy.removeprefix(ROUTES_OF))
        self._core = core
        self._observer = observer
        self._take_up = tuple(take_up)
        self._files = core.files
        self._clock = clock
        self._next = clock() if settings.policy.startswith(ROUTES_OF) else math.inf
        """When a policy that cannot be used is tried again, on the clock."""
        self._told = ""
        """The mistakes that were logged last."""
        self._again: asyncio.TimerHandle | None = None

    async def run(self, every: float = LOOK_EVERY) -> None:
        """Looks at the files every `every` seconds, until cancelled."""
        try:
            while True:
                await asyncio.sleep(every)
                # In a thread, since a network file system may hang.
                if await asyncio.to_thread(lambda: self._files.changed) or self._clock() >= self._next:
                    await self.reload()
        finally:
            if self._again is not None:
                self._again.cancel()

    async def reload(self) -> None:
        """Reads the policy again and puts it into effect if it can be used."""
        files = Watched()
        try:
            policy = await asyncio.to_thread(policy_by, self._settings, files)
        except PolicyError as error:
            if not files.changed:
                self._files = files
                self._refused(error)
            return
        if files.changed:
            return  # it was written while it was read: the next look finds it complete
        self._files, self._next, self._told = files, math.inf, ""
        before = self._core.policy
        try:
            self._core.take_up(policy)
        except SettingError as error:
            for path in policy.files:
                files.reading(Path(path))  # these files may be mended without a change of the policy
            self._refused(error)
            return
        later = [each for part in self._take_up for each in await part(self._core.served)]
        self._observer.taken()
        log.info("the policy has changed, and the new one is in effect", extra=_changes(before, policy, later))
        if _removes(policy) != _removes(before):
            self._flush()

    def _flush(self) -> None:
        invalidations = self._core.invalidations
        invalidations.flush_soon(_REASON)
        if self._again is not None:
            self._again.cancel()
        delay = self._settings.call_timeout or _LONGEST_WRITE
        self._again = asyncio.get_running_loop().call_later(delay, invalidations.flush_soon, _REASON)

    def _refused(self, error: SettingError) -> None:
        self._next = self._clock() + _AGAIN_EVERY
        if self._told == str(error):
            return
        self._told = str(error)
        first, *more = str(error).splitlines()
        self._observer.refused(first)
        extra = {"mistakes": len(more) + 1} if more else {}
        log.error("the policy has changed but cannot be used; the previous one stays in effect: %s", first, extra=extra)


def _removes(policy: Policy) -> object:
    """Everything in a policy that decides what removes answers, for comparison."""
    return (
        {path: write.identity for path, write in policy.writes.items()},
        [event.identity for event in policy.events],
    )


def _changes(before: Policy, now: Policy, later: Iterable[str]) -> dict[str, object]:
    """The fields of the log line: what was added, removed and changed, and what waits for the next start."""
    fields: dict[str, object] = {}
    for name, old, new in (
        ("services", before.services, now.services),
        ("reads", before.reads, now.reads),
        ("writes", before.writes, now.writes),
    ):
        fields |= {f"{name}_added": sorted(added)} if (added := new.keys() - old.keys()) else {}
        fields |= {f"{name}_removed": sorted(removed)} if (removed := old.keys() - new.keys()) else {}
    changed = [path for path, read in now.reads.items() if path in before.reads and _differs(before, now, path)]
    fields |= {"reads_changed": sorted(changed)} if changed else {}
    return fields | ({"from_the_next_start": sorted(later)} if later else {})


def _differs(before: Policy, now: Policy, path: str) -> bool:
    return before.reads[path].digest != now.reads[path].digest
