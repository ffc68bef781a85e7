"""Where Envoy routes each call; test_forward and test_envoy_calls have the effect on calls."""

from pathlib import Path
from typing import Any

import pytest

from proxy.core import Core
from proxy.envoy.listener import APP, PROTOBUF, listener
from proxy.pb import media_pb2
from proxy.settings.config import Settings
from proxy.telemetry.metrics import Metrics

MEDIA = "/media.MediaService"


def manager(**settings: Any) -> dict[str, Any]:
    given = listener(Settings(**settings), "/pyvoy.so", Path("/run/here"), lambda _: ["127.0.0.1"])
    config = given["filter_chains"][0]["filters"][0]["typed_config"]
    assert isinstance(config, dict)
    return config


def routes(**settings: Any) -> list[dict[str, Any]]:
    """The routes for a usual content-type. All but the first are repeated after them for one with parameters."""
    return [each for each in every_route(**settings) if "grpc" in each["match"]]


def every_route(**settings: Any) -> list[dict[str, Any]]:
    [host] = manager(**settings)["route_config"]["virtual_hosts"]
    found: list[dict[str, Any]] = host["routes"]
    return found


def test_a_content_type_with_parameters_changes_nothing() -> None:
    plain = [{"name": "content-type", "string_match": {"exact": "application/grpc"}}]
    usually = [each for each in routes() if each["match"].get("headers") != plain]
    for usual, other in zip(usually, every_route()[-len(usually) :], strict=True):
        assert {**other, "match": None} == {**usual, "match": None}
        (parameters,) = other["match"].pop("headers")
        assert {**other["match"], "grpc": {}} == usual["match"]
        assert parameters["name"] == "content-type"


def test_a_read_has_one_route_for_all_other_spellings_of_protobuf() -> None:
    (found,) = [each for each in every_route() if PROTOBUF in each["match"].get("headers", ())]
    assert found["match"] == {"path": f"{MEDIA}/GetFilesByModel", "headers": [PROTOBUF]}
    before = every_route().index(found)
    assert before < every_route().index(
        next(each for each in routes() if each["match"] == {"path": found["match"]["path"], "grpc": {}})
    )


def test_only_what_goes_upstream_is_tried_again_and_that_is_said_once() -> None:
    """In each route, the policy would take 1.5 kB of memory."""
    [host] = manager()["route_config"]["virtual_hosts"]
    assert host["retry_policy"]["num_retries"] == 1
    said = {each["route"]["cluster"]: each["route"].get("retry_policy") for each in host["routes"]}
    assert said == {"media": None, "own": {}}


def route(path: str, **settings: Any) -> dict[str, Any]:
    return next(each for each in routes(**settings) if each["match"].get("path") == path)


async def test_the_cores_methods_go_to_the_core_and_no_others() -> None:
    core = Core.build(Settings(redis_addr=None), Metrics())
    answered = {each["match"]["path"] for each in routes() if "typed_per_filter_config" in each}
    assert answered == set(core.routes)
    await core.close()


def test_every_other_method_is_forwarded_by_envoy_itself() -> None:
    methods = [method.name for method in media_pb2.DESCRIPTOR.services_by_name["MediaService"].methods]
    named = [each["match"]["path"] for each in routes() if "path" in each["match"]]
    assert sorted({*named}) == sorted(f"{MEDIA}/{method}" for method in methods)
    assert all(route(path)["route"]["cluster"] == "media" for path in named)
    assert {route(path)["route"]["priority"] for path in named} == {"HIGH"}
    assert routes()[-1]["route"]["priority"] == "DEFAULT"
    assert routes()[-1]["match"] == {"safe_regex": {"regex": "/[!-.0-~]+/[!-.0-~]+"}, "grpc": {}}
    assert manager()["http_filters"][0]["disabled"] is True


def test_health_and_reflection_are_our_own() -> None:
    own = [each["match"]["prefix"] for each in routes() if each["route"]["cluster"] == "own"]
    assert own == [
        "/grpc.health.v1.Health/",
        "/grpc.reflection.v1.ServerReflection/",
        "/grpc.reflection.v1alpha.ServerReflection/",
    ]


@pytest.mark.parametrize("path", [f"{MEDIA}/GetFilesByModel", f"{MEDIA}/GetFileURL"])
def test_unary_calls_without_a_deadline_get_ours(path: str) -> None:
    durations = route(path, call_timeout=20.0)["route"]["max_stream_duration"]
    assert durations == {"grpc_timeout_header_max": "0s", "max_stream_duration": "20.0s"}
    assert route(path, call_timeout=0.0)["route"]["max_stream_duration"] == {"grpc_timeout_header_max": "0s"}


def test_uploads_and_streams_take_as_long_as_they_take() -> None:
    for each in (route(f"{MEDIA}/UploadFile"), routes()[-1]):
        assert each["route"]["max_stream_duration"] == {"grpc_timeout_header_max": "0s"}
        assert each["route"]["timeout"] == "0s"
    assert manager()["stream_idle_timeout"] == "0s"
    assert manager()["common_http_protocol_options"]["idle_timeout"] == "0s"


def test_the_application_is_there() -> None:
    assert APP == "media_cache_proxy_worker:app"
    assert f'"app": "{APP}"' in manager()["http_filters"][0]["typed_config"]["filter_config"]["value"]


def test_a_second_process_on_the_port_fails() -> None:
    assert listener(Settings(), "/pyvoy.so", Path("/run/here"), lambda _: ["127.0.0.1"])["enable_reuse_port"] is False


def test_what_callers_may_use_is_theirs_to_set() -> None:
    config = manager(max_metadata_bytes=8192, max_calls_per_connection=7)
    assert config["max_request_headers_kb"] == 16
    assert config["http2_protocol_options"]["max_concurrent_streams"] == 7
