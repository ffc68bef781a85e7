"""Certificates and keys of each *leg* (callers, upstream, Redis, RabbitMQ, collector): read at the start, and again
when their files change.

A bad file at the start ends the process. A file that becomes bad later (incomplete, a certificate with another's key)
leads to one warning, and the previous files stay in use. Only new handshakes use new files; existing connections are
not affected.
"""

import asyncio
import logging
import os
import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from proxy.errors import SettingError
from proxy.settings.config import Settings
from proxy.settings.upstream_tls import UpstreamTls

_log = logging.getLogger(__name__)

LOOK_EVERY = 2.0
"""Seconds between two looks at the files."""

_Stamp = list[tuple[int, ...]]


class Given(NamedTuple):
    """A variable and the path that it holds; empty: none."""

    variable: str
    path: str


class Pem(NamedTuple):
    """What was read; empty: no such file is given."""

    ca: bytes
    cert: bytes
    key: bytes


class Context(ssl.SSLContext):
    """A client's context, TLS 1.2 at least, that may know better than the address which name to expect."""

    server_name = ""

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """What asyncio begins a handshake with; it takes the name out of the address it connected to."""
        return super().wrap_bio(incoming, outgoing, server_side, self.server_name or server_hostname, session)


class Leg:
    """One leg's files. Made, it has read them; SettingError: they are of no use. `server`: we are the one called."""

    def __init__(
        self, name: str, ca: Given, cert: Given, key: Given, *, server_name: str = "", server: bool = False
    ) -> None:
        self.name = name
        self.server_name = server_name
        """That a certificate must have instead of the address' own; empty: the address' own."""
        self._ca, self._cert, self._key = ca, cert, key
        self._server = server
        self._changed: list[Callable[[], None]] = []
        self._bad = False
        self._seen = self._stamp()
        self._pem, self._context = self._read()

    @classmethod
    def to(cls, upstream: UpstreamTls) -> Self:
        """The one to a service that is reached so."""
        prefix, parts = (
            upstream.said_by,
            ("_CA", "_CERT", "_KEY") if upstream.said_by.isupper() else (": ca", ": cert", ": key"),
        )
        ca, cert, key = map(Given, (f"{prefix}{part}" for part in parts), (upstream.ca, upstream.cert, upstream.key))
        return cls("upstream", ca, cert, key, server_name=upstream.server_name)

    @property
    def given(self) -> tuple[Given, Given, Given]:
        """CAs, certificate and key, as paths."""
        return self._ca, self._cert, self._key

    @property
    def pem(self) -> Pem:
        """The files' contents, which fit together."""
        return self._pem

    @property
    def context(self) -> ssl.SSLContext:
        """For the next connection."""
        return self._context

    def on_change(self, told: Callable[[], None]) -> None:
        """`told` is called, by whoever runs `Tls.watch`, after there is something new."""
        self._changed.append(told)

    def look(self) -> bool:
        """Reads the files again if they changed; True: there is something new. It may run in any one thread."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        try:
            read = self._read()
        except SettingError as error:
            if self._stamp() == stamp:
                self._seen = stamp
                self._warn(error)
            return False
        if self._stamp() != stamp:
            return False  # still being written: what was read may be half of it
        self._seen, (self._pem, self._context), self._bad = stamp, read, False
        _log.info("the certificates for %s were reloaded", self.name, extra={"leg": self.name})
        return True

    def tell(self) -> None:
        """Tells those who asked for it."""
        for told in self._changed:
            told()

    def _warn(self, error: SettingError) -> None:
        if not self._bad:
            self._bad = True
            _log.warning("%s; until then the files read before stay in use", error, extra={"leg": self.name})

    def _stamp(self) -> _Stamp:
        """What changes with the files: Kubernetes swaps a link above them, others rename or write in place."""
        stamps: _Stamp = []
        for path in (self._ca.path, self._cert.path, self._key.path):
            try:
                stat = os.stat(path) if path else None  # noqa: PTH116 -- of each file, every two seconds
                stamps.append((stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns) if stat else ())
            except OSError as error:
                stamps.append((error.errno or 0,))
        return stamps

    def _read(self) -> tuple[Pem, ssl.SSLContext]:
        pem = Pem(*map(_content, (self._ca, self._cert, self._key)))
        context = Context(ssl.PROTOCOL_TLS_SERVER if self._server else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.server_name = self.server_name
        try:
            if self._ca.path:
                context.load_verify_locations(self._ca.path)
            elif not self._server:
                context.load_default_certs()
        except (OSError, ValueError) as error:
            raise _of_no_use(self._ca, error, "PEM certificates") from None
        try:
            if self._cert.path:
                context.load_cert_chain(self._cert.path, self._key.path, password=_no_password)
        except (OSError, ValueError) as error:
            accepted = f"a PEM certificate whose unencrypted key is in {self._key.variable} ({self._key.path})"
            raise _of_no_use(self._cert, error, accepted) from None
        return pem, context


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The legs that TLS is asked for; None: plaintext, or what the address itself says of TLS."""

    listen: Leg | None = None
    upstream: Leg | None = None
    redis: Leg | None = None
    rabbitmq: Leg | None = None

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """Reads all files; SettingError names the first that is of no use."""
        return cls(
            listen=_leg(settings, "listen", "callers", ca="client_ca", server=True),
            upstream=_to(UpstreamTls.of(settings)),
            redis=_leg(settings, "redis", "redis"),
            rabbitmq=_leg(settings, "rabbitmq", "rabbitmq"),
        )

    async def watch(self, every: float = LOOK_EVERY, more: Callable[[], Iterable[Leg]] | None = None) -> None:
        """Looks at the files each `every` seconds and tells of what is new, until cancelled. `more` come and go."""
        own = list(self._legs())
        while own or more is not None:
            await asyncio.sleep(every)
            # In a thread: a network's file system may hang.
            renewed = await asyncio.to_thread(_looked, [*own, *(more() if more is not None else ())])
            for leg in renewed:
                leg.tell()

    def _legs(self) -> Iterator[Leg]:
        return (leg for leg in (self.listen, self.upstream, self.redis, self.rabbitmq) if leg is not None)


def _looked(legs: Iterable[Leg]) -> list[Leg]:
    """Those with something new."""
    return [leg for leg in legs if leg.look()]


def _to(upstream: UpstreamTls | None) -> Leg | None:
    return None if upstream is None else Leg.to(upstream)


def _leg(settings: Settings, prefix: str, name: str, *, ca: str = "ca", server: bool = False) -> Leg | None:
    names = (f"{prefix}_tls_{part}" for part in (ca, "cert", "key"))
    cas, cert, key = (Given(name.upper(), getattr(settings, name)) for name in names)
    server_name = "" if server else getattr(settings, f"{prefix}_tls_server_name")
    if not (cas.path or cert.path or server_name):
        return None
    return Leg(name, cas, cert, key, server_name=server_name, server=server)


def _content(given: Given) -> bytes:
    if not given.path:
        return b""
    try:
        return Path(given.path).read_bytes()
    except OSError as error:
        raise SettingError(
            f"{given.variable}: {given.path!r} cannot be read: {error.strerror}; accepted: the path of a PEM file"
        ) from None


def _of_no_use(given: Given, error: OSError | ValueError, accepted: str) -> SettingError:
    said = getattr(error, "reason", None) or ("not a complete PEM" if isinstance(error, ssl.SSLError) else str(error))
    reason = said.replace("_", " ").lower()
    return SettingError(f"{given.variable}: {given.path!r} cannot be used ({reason}); accepted: {accepted}")


def _no_password() -> str:
    """Asked for an encrypted key; without it OpenSSL would ask on the terminal."""
    return ""
