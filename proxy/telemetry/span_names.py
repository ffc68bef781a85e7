"""Every span and attribute name, and which attributes a span of each kind begins with. Pure.

Names are OpenTelemetry's semantic conventions (RPC, database, messaging) where they have one; the others are ours and
begin with `media_cache.`.
"""

from collections.abc import Mapping

from grpc import StatusCode

from proxy.pb import media_pb2

RESULT, TIER, MODEL_TYPE = "media_cache.result", "media_cache.tier", "media_cache.model_type"
READ, INVALIDATE, REFRESH = "media_cache.read", "media_cache.invalidate", "media_cache.refresh"
RPC_SYSTEM, RPC_METHOD, RPC_ORIGINAL = "rpc.system.name", "rpc.method", "rpc.method_original"
RPC_STATUS, ERROR_TYPE = "rpc.response.status_code", "error.type"
SERVER_ADDRESS, SERVER_PORT = "server.address", "server.port"
DB_SYSTEM, DB_OPERATION, DB_BATCH_SIZE = "db.system.name", "db.operation.name", "db.operation.batch.size"
MESSAGING_SYSTEM, MESSAGING_DESTINATION = "messaging.system", "messaging.destination.name"
MESSAGING_OPERATION, MESSAGING_OPERATION_TYPE = "messaging.operation.name", "messaging.operation.type"
MESSAGING_ROUTING_KEY = "messaging.rabbitmq.destination.routing_key"

PIPELINE = "PIPELINE"
"""As `db.operation.name` of several commands that were sent together."""
UNKNOWN_METHOD = "_OTHER"
"""As `rpc.method` of what is forwarded without being known; `rpc.method_original` says what it was."""
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
"""What is the server's fault (semantic conventions, "gRPC")."""
CLIENT_ERRORS = frozenset(StatusCode) - {StatusCode.OK}

Attributes = Mapping[str, str | int]

_LONGEST_TEXT = 128
"""Of what a caller may choose freely, in characters."""
_METHODS = frozenset(
    f"/{service.full_name}/{method.name}"
    for service in media_pb2.DESCRIPTOR.services_by_name.values()
    for method in service.methods
)


def of_call(method: str, at: Attributes) -> Attributes:
    """A gRPC call of this path, to the server at this place."""
    if method in _METHODS:
        return {RPC_SYSTEM: "grpc", RPC_METHOD: method[1:], **at}
    return {RPC_SYSTEM: "grpc", RPC_METHOD: UNKNOWN_METHOD, RPC_ORIGINAL: shortened(method[1:]), **at}


def of_redis(operation: str, peer: tuple[str, int], batch: int = 1) -> Attributes:
    """A command for Redis at this host and port, or `batch` of them."""
    many: Attributes = {DB_BATCH_SIZE: batch} if batch > 1 else {}
    return {DB_SYSTEM: "redis", DB_OPERATION: operation, SERVER_ADDRESS: peer[0], SERVER_PORT: peer[1], **many}


def of_event(exchange: str, routing_key: str, queue: str, at: Attributes) -> Attributes:
    """A message that came out of a queue of the broker at this place."""
    return {
        MESSAGING_SYSTEM: "rabbitmq",
        MESSAGING_OPERATION: "process",
        MESSAGING_OPERATION_TYPE: "process",
        MESSAGING_DESTINATION: f"{exchange}:{routing_key}:{queue}",
        MESSAGING_ROUTING_KEY: routing_key,
        **at,
    }


def shortened(text: str) -> str:
    """As much of it as a span may hold."""
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
