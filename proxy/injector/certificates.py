"""`Keeper`: keeps the webhook's certificate and the CAs that the API server trusts for it consistent.

Every replica runs this check when it starts, every half minute, and as soon as the Secret or the webhook configuration
changes, in steps that may be repeated at any time:

1. Take the pair from its source: the mounted files, or (`selfManaged`) our Secret. There, a new pair is made and stored
   if there is none or two thirds of its life are over. A replica that loses the race to store reads what the winner
   stored.
2. Make the API server trust it: the pair's CA is *added* to the caBundle, so the old and the new CA are both there.
   Only expired CAs are ever removed. (With cert-manager, or a bundle given by hand, others do this.)
3. Serve it: at once if no valid certificate is being served; otherwise some time after its CA was first seen in the
   caBundle, since API servers read their configuration a little later than we write it.
"""

import asyncio
import logging
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from proxy.injector import pki
from proxy.injector.cluster import Bundles, Cluster, ClusterError, ConflictError, StoredSecret
from proxy.injector.metrics import WebhookMetrics
from proxy.injector.pace import Pace
from proxy.injector.pki import Pair

_logger = logging.getLogger(__name__)

_ATTEMPTS = 5
_SOON = 2.0
_ALARM = timedelta(days=7)

Clock = Callable[[], datetime]


class CertificateError(Exception):
    """There is no pair that can be served; the message says why and what to do."""


class Source(Protocol):
    """Where the pair comes from."""

    async def pair(self, serving: Pair | None) -> Pair:
        """The pair to serve; `serving` is served now. Raises CertificateError or ClusterError if there is none."""


class Mounted:
    """Mounted files that others write and renew: tls.crt, tls.key and, if the CA is not public, ca.crt."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def pair(self, _serving: Pair | None) -> Pair:
        """The files' pair, read again each time: when the Secret changes, the kubelet replaces all files at once."""
        try:
            certificate = (self._directory / "tls.crt").read_bytes()
            key = (self._directory / "tls.key").read_bytes()
            authority = self._directory / "ca.crt"
            ca = authority.read_bytes() if authority.exists() else b""
        except OSError as error:
            raise CertificateError(f"{error}; mount a Secret with tls.crt and tls.key there") from error
        return Pair(certificate, key, ca)


class SelfManaged:
    """Our own Secret, which the chart creates empty."""

    def __init__(
        self, cluster: Cluster, names: list[str], life: timedelta, metrics: WebhookMetrics, clock: Clock
    ) -> None:
        self._cluster, self._names, self._life = cluster, names, life
        self._metrics, self._clock = metrics, clock

    async def pair(self, serving: Pair | None) -> Pair:
        """The stored pair if it is good; otherwise one that is stored now. That is the pair being served if it is still
        good (somebody emptied the Secret: `kubectl replace`, Helm 3's --force, GitOps that replaces), or a new one.
        """
        for _ in range(_ATTEMPTS):
            secret = await self._cluster.secret()
            stored = Pair(*(secret.data.get(name, b"") for name in ("tls.crt", "tls.key", "ca.crt")))
            why = self._renewal_reason(stored)
            if why is None:
                return stored
            kept = serving if serving is not None and self._renewal_reason(serving) is None else None
            made = kept or pki.make(self._names, self._clock(), self._life)
            new = Pair(made.certificate, made.key, pki.union(made.ca, stored.ca, now=self._clock()))
            data = {**secret.data, "tls.crt": new.certificate, "tls.key": new.key, "ca.crt": new.ca}
            try:
                await self._cluster.store(StoredSecret(data, secret.version))
            except ConflictError:
                _logger.info("another replica stored a certificate first; reading it")
                continue
            if kept is not None:
                _logger.warning("put the certificate that is being served back into the Secret", extra={"reason": why})
                return new
            self._metrics.certificate_renewals.inc()
            _logger.info("made a certificate", extra={"reason": why, "expires": f"{new.expires:%Y-%m-%dT%H:%M:%SZ}"})
            return new
        raise CertificateError(f"the Secret changed {_ATTEMPTS} times while a certificate was being stored")

    def _renewal_reason(self, stored: Pair) -> str | None:
        if not stored.certificate or not stored.key:
            return "there was none"
        try:
            if self._clock() >= stored.renewal:
                return "two thirds of its life are over"
        except ValueError:
            return "the stored one is not readable"
        return pki.disagreement(stored, stored.ca, self._names[0])


@dataclass(slots=True)
class _Candidate:
    """A pair that is trusted but not served yet, and since when it has been trusted."""

    pair: Pair
    since: datetime


class Keeper:
    """Owns the listener's TLS context. `problem` is None while the API server trusts the certificate in it."""

    def __init__(
        self,
        source: Source,
        cluster: Cluster,
        name: str,
        metrics: WebhookMetrics,
        *,
        writes_bundle: bool,
        settle: timedelta = timedelta(seconds=20),
        clock: Clock = lambda: datetime.now(UTC),
    ) -> None:
        self._source, self._cluster, self._name, self._metrics = source, cluster, name, metrics
        self._writes_bundle, self._settle, self._clock = writes_bundle, settle, clock
        self._serving: Pair | None = None
        self._next: _Candidate | None = None
        self._alarmed: Pair | None = None
        self._last_failure = ""
        self._woken = asyncio.Event()
        self._pace = Pace(time.monotonic)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.problem: str | None = "no certificate yet"

    async def run(self, interval: float, pause: Callable[[float], float] = lambda seconds: seconds) -> None:
        """Checks until cancelled: when woken, and every `interval` seconds, varied by 20 % so that replicas do not
        write in step. While there is nothing to serve, it checks every 2 s.
        """
        while True:
            await self.check()
            seconds = interval if self._serving is not None else min(interval, _SOON)
            try:
                async with asyncio.timeout(pause(seconds * random.uniform(0.8, 1.2))):  # noqa: S311 -- not a secret
                    await self._woken.wait()
            except TimeoutError:
                continue
            self._woken.clear()
            await asyncio.sleep(self._pace.pause())

    async def watch(self, changes: Callable[[], AsyncIterator[None]]) -> None:
        """Wakes `run` as soon as somebody changes an object that the check depends on, until cancelled."""
        while True:
            try:
                async for _ in changes():
                    self._woken.set()
            except ClusterError as error:
                _logger.debug("a watch ended", extra={"error": str(error)})
                await asyncio.sleep(random.uniform(2.0, 10.0))  # noqa: S311 -- not a secret

    async def check(self) -> None:
        """One round of the three steps. A failure is logged and counted, and the current certificate stays in use."""
        try:
            await self._check()
        except (ClusterError, CertificateError) as error:
            self._failed(str(error))
        else:
            self._metrics.certificate_checks.labels("ok").inc()
            if self._last_failure:
                _logger.info("certificate and caBundle match again")
            self._last_failure = ""
        self._judge_expiry()

    async def _check(self) -> None:
        try:
            pair = await self._source.pair(self._serving)
        except (ClusterError, CertificateError):
            if self._serving is not None:
                await self._bundles(self._serving)
            raise
        bundles = await self._bundles(pair)
        good = self._serving is not None and self._trouble(self._serving, bundles) is None
        if trouble := self._trouble(pair, bundles):
            trouble = f"the webhook configuration's caBundle does not match the certificate: {trouble}"
            self.problem = None if good else trouble
            raise CertificateError(trouble)
        if pair == self._serving:
            self._next = None
        elif not good or self._has_settled(pair):
            self._serve(pair)
        self.problem = None

    async def _bundles(self, pair: Pair) -> list[bytes]:
        """The caBundle of each of our webhooks. If writing it is our task, it first adds the CAs of the pair and of
        what is being served.
        """
        for _ in range(_ATTEMPTS):
            there = await self._cluster.bundles()
            if not self._writes_bundle:
                return list(there.by_webhook.values())
            # Existing CAs stay in front, so that replicas with different pairs do not undo each other's order.
            own = (self._serving.ca if self._serving is not None else b"", pair.ca)
            wanted = {name: pki.union(ca, *own, now=self._clock()) for name, ca in there.by_webhook.items()}
            if wanted == there.by_webhook:
                return list(wanted.values())
            try:
                await self._cluster.trust(Bundles(wanted, there.version))
            except ConflictError:
                continue
            _logger.info("the webhook configuration's caBundle was updated")
            return list(wanted.values())
        raise CertificateError(f"the webhook configuration changed {_ATTEMPTS} times while its caBundle was being set")

    def _trouble(self, pair: Pair, bundles: list[bytes]) -> str | None:
        """Why the API server would not accept a pair for each of our webhooks; None if it would."""
        if not bundles:
            return "it has no webhooks"
        found = (pki.disagreement(pair, bundle, self._name) for bundle in dict.fromkeys(bundles))
        return next((trouble for trouble in found if trouble), None)

    def _has_settled(self, pair: Pair) -> bool:
        if self._next is None or self._next.pair != pair:
            self._next = _Candidate(pair, self._clock())
        return self._clock() - self._next.since >= self._settle

    def _serve(self, pair: Pair) -> None:
        pki.load(self.context, pair)
        self._serving, self._next = pair, None
        _logger.info("serving a certificate", extra={"expires": f"{pair.expires:%Y-%m-%dT%H:%M:%SZ}"})

    def _failed(self, why: str) -> None:
        """Logs a failure only if its reason is new: a check that fails every half minute is one line, not thousands."""
        self._metrics.certificate_checks.labels("failed").inc()
        if why != self._last_failure:
            _logger.error("the certificate check failed; the current certificate stays in use", extra={"error": why})
        self._last_failure = why

    def _judge_expiry(self) -> None:
        if self._serving is None:
            self._metrics.certificate_expiry.set(0)
            return
        expires = self._serving.expires
        self._metrics.certificate_expiry.set(expires.timestamp())
        self._metrics.certificate_life.set(self._serving.life.total_seconds())
        left = expires - self._clock()
        if left <= timedelta(0):
            self.problem = f"the certificate expired at {expires:%Y-%m-%dT%H:%M:%SZ}"
        if left < min(_ALARM, self._serving.life / 6) and self._alarmed != self._serving:
            self._alarmed = self._serving
            _logger.error(
                "the certificate expires soon and was not renewed",
                extra={"left_hours": int(left.total_seconds() // 3600)},
            )
