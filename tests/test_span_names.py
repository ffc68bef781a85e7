"""Names are those of the semantic conventions as they are installed, and say what they should of each kind of span."""

from opentelemetry.semconv._incubating.attributes import messaging_attributes, rpc_attributes
from opentelemetry.semconv.attributes import db_attributes, error_attributes, server_attributes

from proxy.telemetry import span_names as names


def test_names_are_those_of_the_semantic_conventions() -> None:
    assert (names.RPC_SYSTEM, names.RPC_METHOD, names.RPC_ORIGINAL, names.RPC_STATUS) == (
        rpc_attributes.RPC_SYSTEM_NAME,
        rpc_attributes.RPC_METHOD,
        rpc_attributes.RPC_METHOD_ORIGINAL,
        rpc_attributes.RPC_RESPONSE_STATUS_CODE,
    )
    assert (names.DB_SYSTEM, names.DB_OPERATION, names.DB_BATCH_SIZE) == (
        db_attributes.DB_SYSTEM_NAME,
        db_attributes.DB_OPERATION_NAME,
        db_attributes.DB_OPERATION_BATCH_SIZE,
    )
    assert (names.SERVER_ADDRESS, names.SERVER_PORT, names.ERROR_TYPE) == (
        server_attributes.SERVER_ADDRESS,
        server_attributes.SERVER_PORT,
        error_attributes.ERROR_TYPE,
    )
    messaging = messaging_attributes
    assert (
        names.MESSAGING_SYSTEM,
        names.MESSAGING_DESTINATION,
        names.MESSAGING_OPERATION,
        names.MESSAGING_OPERATION_TYPE,
        names.MESSAGING_ROUTING_KEY,
    ) == (
        messaging.MESSAGING_SYSTEM,
        messaging.MESSAGING_DESTINATION_NAME,
        messaging.MESSAGING_OPERATION_NAME,
        messaging.MESSAGING_OPERATION_TYPE,
        messaging.MESSAGING_RABBITMQ_DESTINATION_ROUTING_KEY,
    )


def test_a_batch_has_a_size_and_a_single_command_has_none() -> None:
    one = {"db.system.name": "redis", "db.operation.name": "HGET", "server.address": "redis", "server.port": 6379}
    assert names.of_redis("HGET", ("redis", 6379)) == one
    assert names.of_redis("HGET", ("redis", 6379), 3) == one | {"db.operation.batch.size": 3}


def test_a_text_that_a_caller_chose_is_cut() -> None:
    assert names.shortened("x" * 128) == "x" * 128
    assert names.shortened("x" * 129) == "x" * 127 + "…"
