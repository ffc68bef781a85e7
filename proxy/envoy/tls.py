"""Envoy's configuration of TLS towards callers and upstream. Pure.

Certificates, keys and CAs stay in the files that the settings name. For each, Envoy reads a file of *secrets* that
names them, and reloads them when a file is moved into their directory, as Kubernetes and cert-manager do.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from proxy.envoy.addresses import Json, Target, is_ip
from proxy.envoy.services import DEFAULT, Clusters, Placed
from proxy.settings.config import Settings
from proxy.settings.upstream_tls import UpstreamTls

_SOCKET = "envoy.transport_sockets.tls"
_KIND = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"


def towards_callers(settings: Settings, directory: Path) -> Json:
    """The fields of a filter chain for LISTEN_TLS_*; empty for plaintext."""
    if not settings.listen_tls_cert:
        return {}
    ca = settings.listen_tls_client_ca
    common: Json = {
        "tls_certificate_sds_secret_configs": [_secret("listen-pair", directory)],
        **({"validation_context_sds_secret_config": _secret("listen-ca", directory)} if ca else {}),
    }
    return _socket("DownstreamTlsContext", common, require_client_certificate=bool(ca))


def towards_upstream(
    how: UpstreamTls | None, names: Clusters, target: Target, directory: Path, authorities: str
) -> Json:
    """The fields of a service's clusters for TLS; empty for plaintext. `authorities` is the file of the public CAs."""
    if how is None:
        return {}
    name = (how.server_name or _host(target)).removesuffix(".")  # certificates and SNI have no dot there (RFC 6066, 3)
    known: Json = {
        "match_typed_subject_alt_names": [
            {"san_type": "IP_ADDRESS" if is_ip(name) else "DNS", "matcher": {"exact": name}}
        ]
    }
    if how.ca:
        combined = {
            "default_validation_context": known,
            "validation_context_sds_secret_config": _secret(f"{names.first}-ca", directory),
        }
        common: Json = {"combined_validation_context": combined}
    else:
        common = {"validation_context": {**known, "trusted_ca": {"filename": authorities}}}
    if how.cert:
        common["tls_certificate_sds_secret_configs"] = [_secret(f"{names.first}-pair", directory)]
    return _socket("UpstreamTlsContext", common, **({} if is_ip(name) else {"sni": name}))


def secrets(settings: Settings, services: Sequence[Placed] = ()) -> dict[str, Json]:
    """The content of each file of secrets, by its name in the directory."""
    pairs = {"listen-pair": (settings.listen_tls_cert, settings.listen_tls_key)}
    authorities = {"listen-ca": settings.listen_tls_client_ca}
    ways = {DEFAULT: UpstreamTls.of(settings)} | {each.clusters: each.tls for each in services}
    for names, how in ways.items():
        if how is not None:
            pairs[f"{names.first}-pair"] = (how.cert, how.key)
            authorities[f"{names.first}-ca"] = how.ca
    found: dict[str, Json] = {}
    for name, (certificate, key) in pairs.items():
        if certificate:
            files = {"certificate_chain": _read_from(certificate), "private_key": _read_from(key)}
            found[_file(name)] = _resource(name, tls_certificate={**files, **_watched(certificate)})
    for name, authority in authorities.items():
        if authority:
            context = {"trusted_ca": _read_from(authority), **_watched(authority)}
            found[_file(name)] = _resource(name, validation_context=context)
    return found


def _host(target: Target) -> str:
    """The target's host name; `localhost` for a Unix socket, as in gRPC."""
    return str(target.addresses[0].get("socket_address", {}).get("address", "localhost"))


def _socket(kind: str, common: Json, **more: Any) -> Json:
    config = {"@type": f"{_KIND}.{kind}", "common_tls_context": {**common, "alpn_protocols": ["h2"]}, **more}
    return {"transport_socket": {"name": _SOCKET, "typed_config": config}}


def _secret(name: str, directory: Path) -> Json:
    return {"name": name, "sds_config": {"path_config_source": {"path": str(directory / _file(name))}}}


def _resource(name: str, **secret: Json) -> Json:
    return {"resources": [{"@type": f"{_KIND}.Secret", "name": name, **secret}]}


def _read_from(file: str) -> Json:
    """A data source. The path is made absolute, because it is relative to the directory of `serve`, and Envoy starts in
    another.
    """
    return {"filename": str(Path(file).absolute())}


def _watched(file: str) -> Json:
    return {"watched_directory": {"path": str(Path(file).absolute().parent)}}


def _file(name: str) -> str:
    return f"{name}.json"
