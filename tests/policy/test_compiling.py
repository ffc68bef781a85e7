"""proxy.policy.compiling: compiles a file to a policy, or reports every mistake in it."""

import subprocess
import sys

import pytest
from google.protobuf import descriptor_pb2

from proxy.pb import media_pb2 as pb
from proxy.policy.compiling import Sources, builtin_policy, builtin_text, compile_policy
from proxy.policy.descriptors import Descriptors
from tests.policy import CONSTANTS, EXAMPLES, SERVICE, compiled, mistakes, streaming


def test_the_built_in_policy_is_of_the_media_service_alone() -> None:
    policy = builtin_policy(CONSTANTS)
    (service,) = policy.services.values()
    assert list(service.reads) == ["/media.MediaService/GetFilesByModel"]
    assert list(service.writes) == ["/media.MediaService/UploadFile", "/media.MediaService/DeleteFile"]
    assert [event.queue for event in policy.events] == ["uploaded", "deleted"]
    assert service.writes["/media.MediaService/UploadFile"].large


@pytest.mark.parametrize(
    ("most", "per_page", "bypassed"), [(100, 99, False), (100, 100, True), (20, 0, True), (0, 100, False)]
)
def test_expressions_may_name_settings(most: int, per_page: int, bypassed: bool) -> None:
    policy = builtin_policy({"CACHE_BYPASS_PER_PAGE": most})
    read = policy.services["media.MediaService"].reads["/media.MediaService/GetFilesByModel"]
    request = read.requests.whole(pb.GetFilesByModelRequest(per_page=per_page).SerializeToString())
    assert request is not None
    assert read.bypasses(request) is bypassed


def test_a_policy_takes_the_built_in_one_in_and_overrides_single_keys() -> None:
    policy = compiled(
        "version: 1\nservices:\n  - name: media.MediaService\n    builtin: true\n    upstream: other:1\n    reads:\n"
        "      - {method: GetFilesByModel, tag: \"'m' + request.model_type\", ttl: 1m}\n"
        "      - {method: GetFileByID, tag: \"'file/' + string(request.id)\"}\n"
    )
    service = policy.services["media.MediaService"]
    read = service.reads["/media.MediaService/GetFilesByModel"]
    assert (service.upstream, read.limits.ttl, read.limits.keyed) == ("other:1", 60.0, False)
    assert read.said["store"] == "response.success"
    assert "/media.MediaService/GetFileByID" in service.reads
    assert "/media.MediaService/DeleteFile" in service.writes
    assert len(policy.events) == 2


def test_every_mistake_of_a_file_is_told_at_once() -> None:
    text = f"""{SERVICE}    upstream: not a target
    reads:
      - {{method: GetProductById, tag: "'x'"}}
      - {{method: GetProductByID, tag: "'x'", tll: 5}}
      - {{method: GetProductByID, tag: "'x'"}}
    writes:
      - {{method: GetProductByID, invalidates: "[]"}}
  - {{name: product.ProductService, descriptors: product.binpb}}
  - {{name: a.B, descriptors: product.binpb}}
  - {{name: a.C, descriptors: nope.binpb}}
  - {{name: a.D, descriptors: reflection, upstream: "d:1"}}
  - {{name: a.E}}
  - {{name: a.F, builtin: true}}
more: 1
"""
    expected = [
        ("5:15", "service: upstream: 'not a target' is not understood; accepted: a gRPC target"),
        ("7:18", "unknown method 'GetProductById'; did you mean 'GetProductByID'?"),
        ("8:46", "read: unknown key 'tll'; did you mean 'ttl'?"),
        ("9:18", "GetProductByID appears twice; accepted: each method once, as a read or as a write"),
        ("11:18", "GetProductByID appears twice"),
        ("12:12", "service: product.ProductService appears twice; accepted: each service once"),
        ("13:12", "service: unknown service 'a.B'; accepted: product.ProductService"),
        ("14:30", "service: descriptors: nope.binpb cannot be read: No such file or directory"),
        ("15:30", "service: descriptors: reflection cannot be read by reflection of d:1"),
        ("16:5", "service: descriptors is missing for a.E; accepted: the path of a FileDescriptorSet, or reflection"),
        ("17:17", "service: unknown built-in service 'a.F'; accepted: media.MediaService"),
        ("18:1", "policy: unknown key 'more'"),
    ]
    found = mistakes(text)
    assert len(found) == len(expected), found
    for line, (place, told) in zip(found, expected, strict=True):
        assert line.startswith(f"{place}: {told}")


def test_a_stream_is_neither_read_nor_write() -> None:
    sources = Sources(file=lambda _: streaming(), reflection=lambda *_: streaming())
    text = "version: 1\nservices: [{name: s.Streams, descriptors: x, reads: [{method: Down, tag: \"'x'\"}]}]"
    with pytest.raises(ValueError, match="Down is a streaming method; accepted: unary ones: Plain"):
        compile_policy(text, "p.yaml", sources, {})


def test_a_missing_version_or_list_of_services_is_told() -> None:
    assert mistakes("events: []") == [
        "1:1: policy: services is missing; accepted: a list",
        "1:1: policy: version is missing; accepted: 1",
    ]


def test_a_policy_may_have_two_hundred_methods() -> None:
    file = descriptor_pb2.FileDescriptorProto(name="b.proto", package="b", syntax="proto3")
    file.message_type.add(name="M").field.add(name="id", number=1, label=1, type=3)
    service = file.service.add(name="Big")
    lines = ["version: 1", "services:", "  - name: b.Big", "    descriptors: x", "    reads:"]
    for number in range(200):
        service.method.add(name=f"Get{number}", input_type=".b.M", output_type=".b.M")
        lines.append(
            f"      - {{method: Get{number}, tag: \"'x/' + string(request.id)\", store: response.id > 0, ttl: 5m}}"
        )
    sources = Sources(file=lambda _: Descriptors([file]), reflection=lambda *_: Descriptors([file]))
    policy = compile_policy("\n".join(lines), "p.yaml", sources, CONSTANTS)
    assert len(policy.services["b.Big"].reads) == 200


def test_what_ships_as_examples_can_be_served() -> None:
    for name in ("product", "boutique", "media-all"):
        text = (EXAMPLES / f"{name}.yaml").read_text()
        files = Sources(lambda path: Descriptors.of((EXAMPLES / path).read_bytes()), lambda *_: streaming())
        assert compile_policy(text, f"{name}.yaml", files, CONSTANTS).services
    assert builtin_text().startswith("# media.MediaService")


def test_the_built_in_policy_loads_no_strings_extension() -> None:
    code = (
        "import sys; from proxy.policy.loading import load_policy; load_policy(''); "
        "assert 'cel_expr_python.ext.ext_strings' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_how_a_service_is_reached_is_read_with_paths_beside_the_policy() -> None:
    text = (
        SERVICE + "    upstream_tls: {ca: ca.pem, cert: /tls/own.pem, key: /tls/own.key, server_name: shop.internal}\n"
    )
    (service,) = compiled(text, "/etc/policy/p.yaml").services.values()
    tls = service.upstream_tls
    assert tls is not None
    assert (tls.ca, tls.cert, tls.key) == ("/etc/policy/ca.pem", "/tls/own.pem", "/tls/own.key")
    assert (tls.server_name, tls.on) == ("shop.internal", True)
    assert compiled(text, "/etc/policy/p.yaml").files == [tls.ca, tls.cert, tls.key]


@pytest.mark.parametrize(("given", "on"), [("{}", True), ("{mode: on}", True), ("{mode: off}", False)])
def test_it_may_be_the_public_cas_or_plaintext(given: str, on: bool) -> None:
    (service,) = compiled(f"{SERVICE}    upstream_tls: {given}\n").services.values()
    assert service.upstream_tls is not None
    assert service.upstream_tls.on is on


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            "{cert: a.pem}",
            "5:19: service: upstream_tls of product.ProductService: only one of cert and key is given; accepted:",
        ),
        (
            "{mode: off, ca: a}",
            "5:20: service: upstream_tls of product.ProductService: mode is off, but other keys are given; accepted:",
        ),
        ("{mode: maybe}", "5:26: service: upstream_tls: mode: 'maybe' is not understood; accepted: on, off"),
        ("{cca: a}", "5:20: service: upstream_tls: unknown key 'cca'; did you mean 'ca'? accepted: "),
        ("true", "5:19: service: upstream_tls: 'true' was given; accepted: keys with values"),
    ],
)
def test_what_does_not_fit_together_is_told_at_its_place(given: str, told: str) -> None:
    (mistake,) = mistakes(f"{SERVICE}    upstream_tls: {given}\n")
    assert mistake.startswith(told)


def test_a_single_key_of_what_is_built_in_may_be_another() -> None:
    read_of_it = "{method: GetFilesByModel, ttl: 7s}"
    text = f"version: 1\nservices:\n  - {{name: media.MediaService, builtin: true, reads: [{read_of_it}]}}"
    (read,) = compiled(text).reads.values()
    (before,) = builtin_policy(CONSTANTS).reads.values()
    assert (read.limits.ttl, read.said, read.limits.keyed) == (7.0, before.said, False)
    assert read.digest != before.digest
