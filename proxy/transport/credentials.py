"""gRPC credentials from a leg's files: for channels upstream, and for the listener."""

from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
from grpc import StatusCode

from proxy.reasons import in_words
from proxy.settings.config import Settings
from proxy.settings.upstream_tls import UpstreamTls
from proxy.tls import Leg
from proxy.transport.authority import authority
from proxy.transport.channel_options import CLIENT_OPTIONS

_A_CALL = "/grpc.health.v1.Health/Check"
_AT_ONCE = 0.5
"""Seconds that a channel that failed to connect has to report the reason."""


def open_channel(target: str, tls: Leg | None) -> grpc.aio.Channel:
    """A new channel to `target` with the current content of the leg's files; plaintext if `tls` is None."""
    options: tuple[tuple[str, str | int], ...] = CLIENT_OPTIONS
    if not target.startswith("xds:"):
        options = (*options, ("grpc.default_authority", authority(target, tls.server_name if tls else "")))
    if tls is None:
        return grpc.aio.insecure_channel(target, options=options)
    return grpc.aio.secure_channel(target, _credentials(tls), options=(*options, *_named(tls)))


def reflecting(settings: Settings) -> Callable[[str, UpstreamTls | None], grpc.Channel]:
    """A function that connects to a service for reflection, with its own TLS settings or else the upstream settings."""

    def connect(target: str, tls: UpstreamTls | None) -> grpc.Channel:
        how = UpstreamTls.of(settings) if tls is None else tls if tls.on else None
        if how is None:
            return grpc.insecure_channel(target)
        leg = Leg.to(how)
        return grpc.secure_channel(target, _credentials(leg), options=_named(leg))

    return connect


def _named(tls: Leg) -> tuple[tuple[str, str], ...]:
    """The option that makes gRPC expect another name in the certificate than the target's."""
    return (("grpc.ssl_target_name_override", tls.server_name),) if tls.server_name else ()


def _credentials(tls: Leg) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(*(pem or None for pem in (tls.pem.ca, tls.pem.key, tls.pem.cert)))


async def why_not_connected(channel: grpc.aio.Channel) -> str:
    """Why the channel failed to connect; empty if it does not say. Only a call gets the reason: it fails at once, and
    nothing is sent.
    """
    try:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_A_CALL)
        await call(b"", timeout=_AT_ONCE)
    except grpc.aio.AioRpcError as error:
        if error.code() is StatusCode.UNAVAILABLE:
            reason = (error.details() or "").rpartition("last error: ")[2]
            return in_words(reason.removeprefix("UNKNOWN: "))
    except grpc.aio.UsageError:
        pass
    return ""


def server_credentials(tls: Leg) -> grpc.ServerCredentials:
    """The credentials of one port. gRPC asks in its own thread, before each handshake, whether they have changed."""
    fetch: Callable[[], Any] = _fetcher(tls)  # the stub lacks None, which means "unchanged"
    return grpc.dynamic_ssl_server_credentials(_configuration(tls), fetch, bool(tls.pem.ca))


def _fetcher(tls: Leg) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
    shown = tls.pem

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal shown
        if tls.pem is shown:
            return None
        shown = tls.pem
        return _configuration(tls)

    return fetch


def _configuration(tls: Leg) -> grpc.ServerCertificateConfiguration:
    ca, cert, key = tls.pem
    return grpc.ssl_server_certificate_configuration([(key, cert)], ca or None)
