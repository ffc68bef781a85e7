"""The names of all spans and attributes, and the attributes that a span of each kind begins with.

They follow OpenTelemetry's semantic conventions 1.45 (RPC, database, messaging) where these define a name; the proxy's
own names begin with `media_cache.`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from grpc import StatusCode

RESULT, TIER, MODEL_TYPE = "media_cache.result", "media_cache.tier", "media_cache.model_type"
READ, INVALIDATE, REFRESH = "media_cache.read", "media_cache.invalidate", "media_cache.refresh"
RPC_SYSTEM, RPC_METHOD, RPC_ORIGINAL = "rpc.system.name", "rpc.method", "rpc.method_original"
RPC_STATUS, ERROR_TYPE = "rpc.status_code", "error.type"
SERVER_ADDRESS, SERVER_PORT = "server.address", "server.port"
DB_SYSTEM, DB_OPERATION, DB_BATCH_SIZE = "db.system.name", "db.operation.name", "db.operation.batch.size"
DB_NAMESPACE, DB_PROCEDURE = "db.namespace", "db.stored_procedure.name"
MESSAGING_SYSTEM, MESSAGING_DESTINATION = "messaging.system", "messaging.destination.name"
MESSAGING_OPERATION, MESSAGING_OPERATION_TYPE = "messaging.operation.name", "messaging.operation.type"
MESSAGING_ROUTING_KEY = "rabbitmq.destination.routing_key"

PIPELINE = "PIPELINE"
"""The `db.operation.name` of several commands that were sent together."""
RPC_SYSTEM_GRPC = "grpc"
UNKNOWN_METHOD = "_OTHER"
"""The `rpc.method` of methods that the policy does not name; `rpc.method_original` has the caller's text."""
SERVER_ERRORS = frozenset(
    {
        StatusCode.UNKNOWN,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.UNIMPLEMENTED,
        StatusCode.INTERNAL,
        StatusCode.UNAVAILABLE,
        StatusCode.DATA_LOSS,
    }
)
"""Statuses that make a SERVER span an error (semantic conventions, "gRPC")."""
CLIENT_ERRORS = frozenset(StatusCode) - {StatusCode.OK}
"""Statuses that make a CLIENT span an error (semantic conventions, "gRPC")."""

Attributes = Mapping[str, str | int]
Place = Attributes
"""The attributes `server.address` and `server.port`, the latter only if there is a port."""
_SCHEME = re.compile(r"^(?:dns|ipv[46]):(?!//)/?|^[a-z0-9-]+://[^/]*/")
"""The scheme and the authority of a gRPC target."""


@dataclass(frozen=True, slots=True)
class RedisPeer:
    """A Redis server, and the database that a connection to it has selected."""

    host: str = ""
    port: int = 0
    database: int = 0


_SCRIPTS: dict[bytes, str] = {}
"""SHA-1 digest or source of a script -> its name."""
_RUNS_A_SCRIPT = frozenset({b"EVALSHA", b"EVAL"})

_LONGEST_TEXT = 128
"""Maximum characters of an attribute whose value a caller may choose freely."""
_METHODS: set[str] = set()


def known(methods: Iterable[str]) -> None:
    """Registers methods, given as paths; spans of all others are not named after them."""
    _METHODS.update(methods)


def of_call(method: str, at: Attributes) -> Attributes:
    """The attributes of a call of the method with this path, to the server at `at`."""
    if method in _METHODS:
        return {RPC_SYSTEM: RPC_SYSTEM_GRPC, RPC_METHOD: method[1:], **at}
    return {RPC_SYSTEM: RPC_SYSTEM_GRPC, RPC_METHOD: UNKNOWN_METHOD, RPC_ORIGINAL: shortened(method[1:]), **at}


def of_rpc(method: str) -> str:
    """The name of a call's span. For a method that is not registered it never contains the caller's text."""
    return method[1:] if method in _METHODS else RPC_SYSTEM_GRPC


def script(sha: bytes, source: bytes, name: str) -> None:
    """Registers the name of a script, for spans of the commands that run it."""
    _SCRIPTS[sha] = _SCRIPTS[source] = name


def of_redis(command: Sequence[bytes], peer: RedisPeer, batch: int = 1) -> tuple[str, Attributes]:
    """The name and the attributes of the span of a command to Redis; `batch` commands were sent together."""
    at: dict[str, str | int] = {SERVER_ADDRESS: peer.host, SERVER_PORT: peer.port}
    common = {DB_SYSTEM: "redis", DB_NAMESPACE: str(peer.database), **at}
    if batch > 1:
        return PIPELINE, {**common, DB_OPERATION: PIPELINE, DB_BATCH_SIZE: batch}
    operation = command[0].decode()
    procedure = _SCRIPTS.get(command[1], "") if command[0] in _RUNS_A_SCRIPT else ""
    named: Attributes = {DB_PROCEDURE: procedure} if procedure else {}
    return f"{operation} {procedure}".strip(), {**common, DB_OPERATION: operation, **named}


def of_event(exchange: str, routing_key: str, queue: str, at: Attributes) -> Attributes:
    """The attributes of the span of a message that was delivered from `queue` by the broker at `at`."""
    return {
        MESSAGING_SYSTEM: "rabbitmq",
        MESSAGING_OPERATION: "process",
        MESSAGING_OPERATION_TYPE: "process",
        MESSAGING_DESTINATION: f"{exchange}:{routing_key}:{queue}",
        MESSAGING_ROUTING_KEY: routing_key,
        **at,
    }


def shortened(text: str) -> str:
    """The text, cut to the length that a span may hold."""
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def place(address: str) -> Place:
    """Where a gRPC target or an address to listen on is. For a Unix socket the address is its path; several addresses
    stay one text, without a port.
    """
    socket = re.fullmatch(r"unix(?:-abstract)?:(?://)?(.+)", address)
    if socket:
        return {SERVER_ADDRESS: socket[1]}
    endpoint = _SCHEME.sub("", address)
    host, colon, port = endpoint.rpartition(":")
    if not colon or not port.isdecimal() or "," in host:
        return {SERVER_ADDRESS: endpoint}
    return {SERVER_ADDRESS: host.removeprefix("[").removesuffix("]"), SERVER_PORT: int(port)}
