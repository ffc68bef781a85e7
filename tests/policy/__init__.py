"""Tests of proxy.policy, and the parts of a policy that several of them use."""

from pathlib import Path

from google.protobuf import descriptor_pb2

from proxy.policy.compiled import Policy
from proxy.policy.compiling import Sources, compile_policy
from proxy.policy.descriptors import BadDescriptors, Descriptors
from proxy.policy.mistakes import PolicyError
from proxy.settings.upstream_tls import UpstreamTls

EXAMPLES = Path(__file__).parents[2] / "examples" / "policies"
PRODUCT = (EXAMPLES / "product.binpb").read_bytes()
CONSTANTS = {"CACHE_BYPASS_PER_PAGE": 100}
SERVICE = """\
version: 1
services:
  - name: product.ProductService
    descriptors: product.binpb
"""


def _file(name: str) -> Descriptors:
    if name != "product.binpb":
        raise BadDescriptors(
            "cannot be read: No such file or directory; accepted: the path of a file beside the policy"
        )
    return Descriptors.of(PRODUCT)


def _reflection(upstream: str, tls: UpstreamTls | None, service: str) -> Descriptors:
    raise BadDescriptors(f"cannot be read by reflection of {upstream}; accepted: a server with reflection, or a file")


SOURCES = Sources(file=_file, reflection=_reflection)


def compiled(text: str, file: str = "p.yaml") -> Policy:
    """A compiled policy of the product service."""
    return compile_policy(text, file, SOURCES, CONSTANTS)


def mistakes(text: str) -> list[str]:
    """The mistakes of a policy, one line each, without the file's name."""
    try:
        compiled(text)
    except PolicyError as error:
        return [str(mistake).removeprefix("p.yaml:") for mistake in error.mistakes]
    return []


def streaming() -> Descriptors:
    """The descriptors of a service whose methods are all streams but one."""
    file = descriptor_pb2.FileDescriptorProto(name="s.proto", package="s", syntax="proto3")
    file.message_type.add(name="M")
    service = file.service.add(name="Streams")
    service.method.add(name="Up", input_type=".s.M", output_type=".s.M", client_streaming=True)
    service.method.add(name="Down", input_type=".s.M", output_type=".s.M", server_streaming=True)
    plain = service.method.add(name="Plain", input_type=".s.M", output_type=".s.M")
    plain.options.idempotency_level = descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS
    return Descriptors([file])
