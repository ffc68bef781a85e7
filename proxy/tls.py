"""`Tls`: certificates and keys of each *leg* (callers, upstream, Redis, RabbitMQ, collector). They are read at the
start, and again when their files change.

A bad file at the start ends the process. A file that becomes bad later (incomplete, or a certificate that does not
match its key) leads to one warning, and the previous files stay in use. Only new handshakes use new files; existing
connections are not affected.
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
    """A variable, for messages, and the path in it; "" if no file is given."""

    variable: str
    path: str


class Pem(NamedTuple):
    """The contents of the files; empty for a file that is not given."""

    ca: bytes
    cert: bytes
    key: bytes


class Context(ssl.SSLContext):
    """A context for TLS 1.2 or newer, in which a client may expect another name than that of the address."""

    server_name = ""
    """The name to expect in the server's certificate; "" means the host of the address."""

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Called by asyncio at the beginning of a handshake; its `server_hostname` is the host of the address."""
        return super().wrap_bio(incoming, outgoing, server_side, self.server_name or server_hostname, session)


class Leg:
    """The files of one leg, which the constructor reads; SettingError: they cannot be used. `server` means that the
    proxy is the server of this leg.
    """

    def __init__(
        self, name: str, ca: Given, cert: Given, key: Given, *, server_name: str = "", server: bool = False
    ) -> None:
        self.name = name
        self.server_name = server_name
        """The name that the server's certificate must have; "" means the host of the address."""
        self._ca, self._cert, self._key = ca, cert, key
        self._server = server
        self._changed: list[Callable[[], None]] = []
        self._bad = False
        self._seen = self._stamp()
        self._pem, self._context = self._read()

    @classmethod
    def to(cls, upstream: UpstreamTls) -> Self:
        """The leg to a service with these TLS settings; SettingError: the files cannot be used."""
        prefix, parts = (
            upstream.said_by,
            ("_CA", "_CERT", "_KEY") if upstream.said_by.isupper() else (": ca", ": cert", ": key"),
        )
        ca, cert, key = map(Given, (f"{prefix}{part}" for part in parts), (upstream.ca, upstream.cert, upstream.key))
        return cls("upstream", ca, cert, key, server_name=upstream.server_name)

    @property
    def given(self) -> tuple[Given, Given, Given]:
        """CAs, certificate and key, with their variables and paths."""
        return self._ca, self._cert, self._key

    @property
    def pem(self) -> Pem:
        """The contents of the files that are in use."""
        return self._pem

    @property
    def context(self) -> ssl.SSLContext:
        """The context for new connections."""
        return self._context

    def on_change(self, told: Callable[[], None]) -> None:
        """Registers `told`, which `Tls.watch` calls after the files were reloaded."""
        self._changed.append(told)

    def look(self) -> bool:
        """Reads the files again if they changed. True: new ones are in use now. No two threads may run it at once."""
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
            return False  # still being written: what was read may be incomplete
        self._seen, (self._pem, self._context), self._bad = stamp, read, False
        _log.info("the certificates for %s were reloaded", self.name, extra={"leg": self.name})
        return True

    def tell(self) -> None:
        """Calls what was registered with `on_change`."""
        for told in self._changed:
            told()

    def _warn(self, error: SettingError) -> None:
        if not self._bad:
            self._bad = True
            _log.warning("%s; until then the previous files stay in use", error, extra={"leg": self.name})

    def _stamp(self) -> _Stamp:
        """Changes whenever the files do: Kubernetes swaps a link above them, others rename or write in place."""
        stamps: _Stamp = []
        for path in (self._ca.path, self._cert.path, self._key.path):
            try:
                stat = os.stat(path) if path else None  # noqa: PTH116 -- runs for each file every two seconds
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
    """The legs with TLS settings. None means plaintext, or the TLS options in the address itself."""

    listen: Leg | None = None
    upstream: Leg | None = None
    redis: Leg | None = None
    rabbitmq: Leg | None = None

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """Reads all files; SettingError names the first one that cannot be used."""
        return cls(
            listen=_leg(settings, "listen", "callers", ca="client_ca", server=True),
            upstream=_to(UpstreamTls.of(settings)),
            redis=_leg(settings, "redis", "redis"),
            rabbitmq=_leg(settings, "rabbitmq", "rabbitmq"),
        )

    async def watch(self, every: float = LOOK_EVERY, more: Callable[[], Iterable[Leg]] | None = None) -> None:
        """Looks at the files every `every` seconds and reports changes to `on_change`, until cancelled. `more` returns
        the further legs that there are at that moment.
        """
        own = list(self._legs())
        while own or more is not None:
            await asyncio.sleep(every)
            # In a thread, since a network file system may hang.
            renewed = await asyncio.to_thread(_looked, [*own, *(more() if more is not None else ())])
            for leg in renewed:
                leg.tell()

    def _legs(self) -> Iterator[Leg]:
        return (leg for leg in (self.listen, self.upstream, self.redis, self.rabbitmq) if leg is not None)


def _looked(legs: Iterable[Leg]) -> list[Leg]:
    """The legs whose files were reloaded."""
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
    """Called for an encrypted key. Without a callback OpenSSL would ask for the password on the terminal."""
    return ""
