"""Names are those of the semantic conventions 1.45, and say what they should of each kind of span.

The installed package is of 1.44: what 1.45 renamed (its changelog) stands here in full.
"""

import pytest
from opentelemetry.semconv._incubating.attributes import messaging_attributes, rpc_attributes
from opentelemetry.semconv.attributes import db_attributes, error_attributes, server_attributes

from proxy.store.redis_scripts import Script
from proxy.telemetry import span_names as names

FILL = Script("fill")


def test_names_are_those_of_the_semantic_conventions() -> None:
    assert (names.RPC_SYSTEM, names.RPC_METHOD, names.RPC_ORIGINAL, names.RPC_STATUS) == (
        rpc_attributes.RPC_SYSTEM_NAME,
        rpc_attributes.RPC_METHOD,
        rpc_attributes.RPC_METHOD_ORIGINAL,
        "rpc.status_code",  # 1.44: rpc.response.status_code
    )
    assert (names.DB_NAMESPACE, names.DB_PROCEDURE) == (
        db_attributes.DB_NAMESPACE,
        db_attributes.DB_STORED_PROCEDURE_NAME,
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
        "rabbitmq.destination.routing_key",  # 1.44: messaging.rabbitmq.destination.routing_key
    )


def test_a_batch_has_a_size_and_a_single_command_has_none() -> None:
    peer = names.RedisPeer("redis", 6379, 2)
    at = {"db.system.name": "redis", "db.namespace": "2", "server.address": "redis", "server.port": 6379}
    assert names.of_redis((b"HGET", b"key"), peer) == ("HGET", at | {"db.operation.name": "HGET"})
    batch = {"db.operation.name": "PIPELINE", "db.operation.batch.size": 3}
    assert names.of_redis((b"HGET", b"key"), peer, 3) == ("PIPELINE", at | batch)


@pytest.mark.parametrize(("operation", "script"), [(b"EVALSHA", FILL.sha), (b"EVAL", FILL.source)])
def test_a_script_is_known_by_its_name_and_another_by_none(operation: bytes, script: bytes) -> None:
    name, attributes = names.of_redis((operation, script, b"1", b"key"), names.RedisPeer())
    assert (name, attributes["db.stored_procedure.name"]) == (f"{operation.decode()} fill", "fill")
    name, attributes = names.of_redis((operation, b"return 1", b"0"), names.RedisPeer())
    assert name == operation.decode()
    assert "db.stored_procedure.name" not in attributes


def test_a_span_of_an_unknown_method_is_not_named_by_the_callers_text() -> None:
    assert names.of_rpc("/media.MediaService/GetFilesByModel") == "media.MediaService/GetFilesByModel"
    assert names.of_rpc("/any.Service/" + "x" * 1000) == "grpc"
    attributes = names.of_call("/any.Service/Anything", {})
    assert (attributes["rpc.method"], attributes["rpc.method_original"]) == ("_OTHER", "any.Service/Anything")


def test_a_text_that_a_caller_chose_is_cut() -> None:
    assert names.shortened("x" * 128) == "x" * 128
    assert names.shortened("x" * 129) == "x" * 127 + "…"
