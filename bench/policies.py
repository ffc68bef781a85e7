"""What a policy costs at the start, in time and memory: no policy, media with products, and one with 200 methods.

Starts alternate, and the cost of a policy is the median of the differences within each round, since the machine may be
busy.
"""

import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from google.protobuf import descriptor_pb2

from bench.stack import TRANSPORTS
from bench.start import Start, started
from bench.targets import Target
from tests.support.servers.process import ROOT
from tests.support.servers.redis import RedisServer

_ROUNDS = 7
_SERVICES, _METHODS = 10, 20
NONE, PRODUCTS, MANY = "none", "products", f"{_SERVICES * _METHODS} methods"
_MB, _SECONDS = 12.0, 0.5

Costs = dict[str, dict[str, list[Start]]]
"""Starts by transport and policy."""


async def run(rounds: int = _ROUNDS) -> Costs:
    """Measures all starts with the same Redis; the first round is a warm-up."""
    found: Costs = {transport: {each: [] for each in (NONE, PRODUCTS, MANY)} for transport in TRANSPORTS}
    with TemporaryDirectory(prefix="bench-") as name:
        policies = {NONE: "", PRODUCTS: str(ROOT / "examples" / "policies" / "product.yaml"), MANY: _many(Path(name))}
        async with RedisServer() as redis:
            for number in range(rounds + 1):
                for transport, policy in ((transport, policy) for transport in TRANSPORTS for policy in policies):
                    settings = {"TRANSPORT": transport, "REDIS_ADDR": redis.addr, "POLICY": policies[policy]}
                    one = await started(ROOT, **settings)
                    if number:
                        found[transport][policy].append(one)
    return found


def added(found: Costs, transport: str, policy: str, what: str) -> float:
    """What a policy adds: seconds of `cpu` or until `open`, or MB `resident`."""
    pairs = zip(found[transport][policy], found[transport][NONE], strict=True)
    return float(statistics.median(getattr(one, what) - getattr(without, what) for one, without in pairs))


def rows(found: Costs) -> Iterator[list[str]]:
    """Yields one row per policy with what it adds."""
    for transport, policies in found.items():
        for policy in (each for each in policies if each != NONE):
            cpu, opened, mb = (added(found, transport, policy, what) for what in ("cpu", "open", "resident"))
            yield [f"{transport}: {policy}", f"{1000 * cpu:.0f}", f"{1000 * opened:.0f}", f"{mb:.1f}"]


def targets(found: Costs) -> Iterable[Target]:
    """Yields the targets for policies."""
    for transport in found:
        yield Target(
            f"{transport}: memory that a policy adds", added(found, transport, PRODUCTS, "resident"), _MB, "MB"
        )
        yield Target(f"{transport}: CPU that {MANY} add", added(found, transport, MANY, "cpu"), _SECONDS, "s")


def _many(directory: Path) -> str:
    """Writes a policy with this many methods, a quarter of them writes; returns its path."""
    file = descriptor_pb2.FileDescriptorProto(name="many.proto", package="many", syntax="proto3")
    types = descriptor_pb2.FieldDescriptorProto
    text = ["version: 1", "services:"]
    for service in range(_SERVICES):
        described = file.service.add(name=f"Service{service}")
        reads, writes = ["    reads:"], ["    writes:"]
        for number in range(_METHODS):
            name = f"S{service}M{number}"
            request, response = file.message_type.add(name=f"{name}Request"), file.message_type.add(name=name)
            request.field.add(name="id", number=1, label=types.LABEL_OPTIONAL, type=types.TYPE_INT64)
            response.field.add(name="success", number=1, label=types.LABEL_OPTIONAL, type=types.TYPE_BOOL)
            described.method.add(name=name, input_type=f".many.{name}Request", output_type=f".many.{name}")
            if number % 4:
                tag = f"\"'thing{number}/' + string(request.id)\""
                reads += [f"      - method: {name}", f"        tag: {tag}", "        store: response.success"]
            else:
                tags = f"\"['thing{number + 1}/' + string(request.id), 'things']\""
                writes += [f"      - method: {name}", f"        invalidates: {tags}"]
        text += [f"  - name: many.Service{service}", f"    upstream: service{service}:50055"]
        text += ["    descriptors: many.binpb", *reads, *writes]
    (directory / "many.binpb").write_bytes(descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString())
    path = directory / "many.yaml"
    path.write_text("\n".join(text) + "\n")
    return str(path)
