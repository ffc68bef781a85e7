"""Loads a policy from its file, with the descriptors that it names, from files or by reflection of the upstream."""

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.errors import SettingError
from proxy.policy import form
from proxy.policy.compiled import Policy, Service
from proxy.policy.compiling import Sources, builtin_policy, compile_policy, upstream_tls
from proxy.policy.descriptors import MOST_BYTES as MOST_DESCRIPTOR_BYTES
from proxy.policy.descriptors import BadDescriptors, Descriptors
from proxy.policy.document import MOST_BYTES
from proxy.policy.mistakes import Mistake, Place, PolicyError
from proxy.policy.watched import Watched
from proxy.settings.flags import NOWHERE
from proxy.settings.own_address import leads_back
from proxy.settings.setting_types import GrpcTarget
from proxy.settings.tolerance import ROUTES_OF
from proxy.settings.upstream_tls import UpstreamTls

if TYPE_CHECKING:
    import grpc

DEFAULT_UPSTREAM = "localhost:50056"
DEFAULT_CONSTANTS = {"CACHE_BYPASS_PER_PAGE": 100}
"""The settings that expressions may name, with their defaults."""

Connect = Callable[[str, UpstreamTls | None], "grpc.Channel"]
"""Makes a channel to a gRPC target with these TLS settings, None for the process's own; raises SettingError if their
files cannot be used."""


def in_plaintext(target: str, _: UpstreamTls | None) -> "grpc.Channel":
    """A plaintext channel, for tools that have no settings."""
    import grpc  # noqa: PLC0415 -- few policies need it

    return grpc.insecure_channel(target)


def load_policy(
    path: str,
    *,
    constants: Mapping[str, int] = DEFAULT_CONSTANTS,
    default_upstream: str = DEFAULT_UPSTREAM,
    connect: Connect = in_plaintext,
    watched: Watched | None = None,
    environ: Mapping[str, str] = os.environ,
    transport: str = "grpcio",
    listen_addr: str = "",
) -> Policy:
    """The policy in a file, or the built-in one if `path` is empty; raises PolicyError with every mistake.

    `watched` reads each file. A service must not be at `listen_addr`, where the proxy itself listens.
    """
    if not path:
        return builtin_policy(constants)
    watched = watched or Watched()
    if path.startswith(ROUTES_OF):
        return _routes(path.removeprefix(ROUTES_OF), constants, watched, environ, listen_addr)
    beside = Path(path).parent

    def described(name: str) -> Descriptors:
        return descriptors_in(beside / name, watched)

    def reflected(upstream: str, tls: UpstreamTls | None, service: str) -> Descriptors:
        asked = upstream, tls, service
        kept = watched.told(asked)
        if kept is not None:
            return Descriptors.of(kept)
        found = reflect(upstream, tls, service)
        watched.keep(asked, found.data)
        return found

    def reflect(upstream: str, tls: UpstreamTls | None, service: str) -> Descriptors:
        from proxy.policy.reflection import ask  # noqa: PLC0415 -- few policies need it

        try:
            channel = connect(upstream or default_upstream, tls)
        except SettingError as error:
            raise BadDescriptors(f"cannot be read by reflection: {error}") from None
        with closing(channel):
            return ask(channel, service)

    # MEDIA_SERVICE_ADDR is one of the proxy's own settings, which a flag may override.
    addresses = {name: text for name, text in environ.items() if name != "MEDIA_SERVICE_ADDR"}
    sources = Sources(described, reflected, addresses, transport)
    policy = compile_policy(policy_text(path, watched), path, sources, constants)
    loops = [each for each in policy.services.values() if _leads_back(each.upstream, listen_addr)]
    if loops:
        raise PolicyError([Mistake(Place(path), _loop(each, listen_addr)) for each in loops])
    return policy


def _leads_back(upstream: str, listen_addr: str) -> bool:
    return bool(upstream and listen_addr) and leads_back(upstream, listen_addr)


def _loop(service: Service, listen_addr: str) -> str:
    origin = f" ({service.address_variable})" if service.address_variable else ""
    return (
        f"{service.upstream!r}, the address of {service.name}{origin}, is this proxy's own LISTEN_ADDR "
        f"({listen_addr}); accepted: the address of the real service"
    )


def _routes(
    path: str, constants: Mapping[str, int], watched: Watched, environ: Mapping[str, str], listen_addr: str
) -> Policy:
    """A policy that only routes, for a file that cannot be used: each service's address, as far as it can be read.

    Nothing is stored and no events are consumed, since the file cannot say how. The built-in writes still invalidate.
    """
    builtin = builtin_policy(constants).services
    policy = Policy({name: _uncached(each) for name, each in builtin.items()}, ())
    try:
        given, document = form.read_policy(policy_text(path, watched), path)
    except PolicyError:
        return policy
    others = {}
    for each in given.services or ():
        name = each.name.text if each.name else ""
        variable = each.address_variable.text if each.address_variable else ""
        if name and name not in policy.services:
            upstream = _target(environ.get(variable, "")) or each.upstream or ""
            upstream = NOWHERE if _leads_back(upstream, listen_addr) else upstream
            tls = _usable(upstream_tls(document, each.upstream_tls, name))
            others[name] = Service(name, upstream, tls, variable, (), {}, {}, Descriptors([]))
    return replace(policy, services={**policy.services, **others})


def _uncached(service: Service) -> Service:
    reads = {path: replace(read, bypasses=lambda _: True) for path, read in service.reads.items()}
    return replace(service, reads=reads)


def _usable(tls: UpstreamTls | None) -> UpstreamTls | None:
    """The settings without their files if these cannot be used; the connection stays TLS."""
    if tls is None or not tls.on:
        return tls
    import ssl  # noqa: PLC0415 -- few need it

    try:
        context = ssl.create_default_context(cafile=tls.ca or None)
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key or None, password="")
    except (OSError, ValueError):
        return replace(tls, ca="", cert="", key="")
    return tls


def _target(address: str) -> str:
    """The address as a gRPC target; empty if it is not one."""
    try:
        return GrpcTarget().parse(address.strip())
    except ValueError:
        return ""


def policy_text(path: str, watched: Watched | None = None) -> str:
    """The text of a policy's file; raises PolicyError if it cannot be read."""
    try:
        return (watched or Watched()).read(Path(path), MOST_BYTES).decode()
    except UnicodeDecodeError:
        raise PolicyError([Mistake(Place(path), "is not valid UTF-8; accepted: a policy in YAML")]) from None
    except OSError as error:
        raise PolicyError(
            [Mistake(Place(path), f"cannot be read: {error.strerror}; accepted: a policy in YAML")]
        ) from None


def descriptors_in(path: Path, watched: Watched | None = None) -> Descriptors:
    """The descriptors in a file; raises BadDescriptors."""
    try:
        return Descriptors.of((watched or Watched()).read(path, MOST_DESCRIPTOR_BYTES))
    except OSError as error:
        raise BadDescriptors(
            f"cannot be read: {error.strerror}; accepted: the path of a file beside the policy"
        ) from None
