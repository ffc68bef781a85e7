"""Replacing the address: which entries the sidecar gets, what is refused, what leads back to the sidecar."""

from typing import Any

import pytest

from proxy.injector import addresses
from proxy.injector.refusal import Refused


def original(*env: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return addresses.original({"name": "app", "env": list(env), **more}, len(env) - 1)


def literal(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "value": value}


def test_a_literal_comes_under_the_sidecars_own_name() -> None:
    assert original(literal("MEDIA", "dns:///m:1")) == [literal("MEDIA_SERVICE_ADDR", "dns:///m:1")]


def test_a_reference_takes_the_latest_entry_before_it() -> None:
    env = [literal("H", "old"), literal("H", "m"), literal("M", "$(H):1")]
    assert original(*env) == [literal("H", "m"), literal("MEDIA_SERVICE_ADDR", "$(H):1")]


def test_references_are_followed_to_the_end_in_their_order() -> None:
    env = [literal("A", "a"), literal("B", "$(A)"), literal("C", "c"), literal("D", "$(B)$(C)"), literal("M", "$(D):1")]
    assert [entry["name"] for entry in original(*env)] == ["A", "B", "C", "D", "MEDIA_SERVICE_ADDR"]


def test_an_escaped_reference_is_none() -> None:
    assert len(original(literal("A", "a"), literal("M", "m$$(A):1"))) == 1


def test_a_reference_into_a_source_stops_there() -> None:
    env = [literal("A", "a"), {"name": "H", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}]
    assert [entry["name"] for entry in original(*env, literal("M", "$(H):1"))] == ["H", "MEDIA_SERVICE_ADDR"]


def test_a_service_link_is_the_same_in_every_container_of_the_pod() -> None:
    assert len(original(literal("M", "$(MEDIA_SERVICE_HOST):$(MEDIA_SERVICE_PORT_GRPC)"))) == 1


@pytest.mark.parametrize(
    ("env", "more", "problem"),
    [
        ([literal("M", "$(H):1")], {}, "refers to $(H), which is not defined before it"),
        ([literal("M", "$(H):1")], {"envFrom": [{}]}, "refers to $(H), which may come from envFrom"),
        ([literal("LOG_LEVEL", "x"), literal("M", "$(LOG_LEVEL)")], {}, "refers to $(LOG_LEVEL), which the sidecar"),
        ([literal("https_proxy", "x"), literal("M", "$(https_proxy)")], {}, "which the sidecar reads too"),
        ([literal("M", "")], {}, "M of container app is empty"),
        ([{"name": "M"}], {}, "is empty"),
        ([literal("M", "http://media/")], {}, "is 'http://media/', not a gRPC target"),
        ([{"name": "M", "valueFrom": {"fileKeyRef": {"volumeName": "v"}}}], {}, "comes from a file in a volume"),
    ],
)
def test_what_the_sidecar_could_not_know_is_refused(
    env: list[dict[str, Any]], more: dict[str, Any], problem: str
) -> None:
    with pytest.raises(Refused, match=r"^media-cache-proxy\.io/upstream: .*; set this to the media service") as caught:
        original(*env, **more)
    assert problem in caught.value.message


@pytest.mark.parametrize(
    ("value", "itself"),
    [
        ("localhost:50066", True),
        ("127.0.0.1:50066", True),
        ("127.9.9.9:50066", True),
        ("dns:///localhost.:50066", True),
        ("passthrough:///[::1]:50066", True),
        ("0.0.0.0:50066", True),
        ("ipv4:10.0.0.1:50066,127.0.0.1:50066", True),
        ("[::ffff:127.0.0.1]:50066", True),
        ("LOCALHOST:50066", True),
        ("localhost:50056", False),
        ("media:50066", False),
        ("10.0.0.1:50066", False),
        ("unix:/run/media", False),
        ("$(X)", False),
    ],
)
def test_the_sidecars_own_address_is_known_in_any_spelling(value: str, itself: bool) -> None:
    assert addresses.names_the_sidecar([literal("M", value)], 50066) is itself


@pytest.mark.parametrize(
    ("env", "itself"),
    [
        ([literal("H", "localhost"), literal("M", "$(H):50066")], True),
        ([literal("P", "50066"), literal("M", "dns:///127.0.0.1:$(P)")], True),
        ([literal("A", "local"), literal("H", "$(A)host"), literal("M", "$(H):50066")], True),
        ([literal("H", "media"), literal("M", "$(H):50066")], False),
        ([literal("H", "localhost"), literal("M", "$$(H):50066")], False),
        ([{"name": "H", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, literal("M", "$(H):50066")], False),
    ],
)
def test_the_sidecars_own_address_is_known_behind_references(env: list[dict[str, Any]], itself: bool) -> None:
    assert addresses.names_the_sidecar(original(*env), 50066) is itself


def test_an_entry_after_the_referring_one_is_not_seen() -> None:
    env = [literal("M", "$(H):1"), literal("H", "late")]
    with pytest.raises(Refused, match="which is not defined before it"):
        addresses.original({"name": "app", "env": env}, 0)


def test_a_source_never_names_the_sidecar() -> None:
    assert not addresses.names_the_sidecar([{"name": "M", "valueFrom": {}}], 50066)


def test_an_entry_with_a_left_over_source_is_not_swapped() -> None:
    both = {"name": "M", "value": "127.0.0.1:1", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}
    assert not addresses.is_swapped(both, "127.0.0.1:1")
    assert addresses.is_swapped(addresses.swapped(both, "127.0.0.1:1"), "127.0.0.1:1")
