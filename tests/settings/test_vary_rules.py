"""proxy.settings.vary_rules: a name in CACHE_VARY_METADATA either tells callers apart, or ends the start."""

import asyncio
import re
from dataclasses import dataclass

import pytest

from proxy.errors import SettingError
from proxy.pb import media_pb2 as pb
from proxy.settings.config import Settings
from proxy.settings.vary_rules import withheld
from tests.as_direct.caller import Outcome, call, request
from tests.as_direct.upstream import HandUpstream, answered
from tests.conftest import TRANSPORTS
from tests.support.raw_http2 import Fields
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

READ = "/media.MediaService/GetFilesByModel"
NAMES = re.findall(
    r"\S+",
    """
    accept accept-encoding access-control-request-method age alt-svc authorization b3 baggage cache-control connection
    content-encoding content-length content-type cookie date early-data endpoint-load-metrics-bin expect forwarded
    from grpclb_client_stats host http2-settings if-none-match k-bin k.dot k_underscore keep-alive l5d-client-id
    lb-cost-bin lb-token location origin path pragma priority proxy-authorization proxy-connection proxy-status range
    referer scheme server te traceparent tracestate trailer transfer-encoding true-client-ip upgrade
    upgrade-insecure-requests user-agent via x-amzn-trace-id x-b3-traceid x-client-trace-id x-cloud-trace-context
    x-consumer-id x-endpoint-load-metrics-bin x-envoy-attempt-count x-envoy-decorator-operation
    x-envoy-downstream-service-cluster x-envoy-downstream-service-node x-envoy-external-address x-envoy-internal
    x-envoy-original-path x-envoy-peer-metadata x-envoy-peer-metadata-id x-forwarded-client-cert x-forwarded-for
    x-forwarded-host x-forwarded-path x-forwarded-port x-forwarded-proto x-forwarded-scheme x-http-method-override
    x-istio-attributes x-media-cache-forwarded-proto x-ot-span-context x-real-ip x-request-id x-user
""",
)


@dataclass
class Reader:
    """Reads the list of a model of its own for each name."""

    port: int

    async def read(self, model: int, fields: Fields) -> str | Outcome:
        """`x-cache`; what came instead of an answer."""
        asked = pb.GetFilesByModelRequest(model_type="user", model_id=model, collection_name="a", page=1, per_page=1)
        body = asked.SerializeToString()
        outcome = await call(self.port, request(READ, fields), b"\0" + len(body).to_bytes(4) + body)
        return str(dict(outcome.trailing)["x-cache"]) if outcome.code == 0 else outcome

    async def tells_apart(self, model: int, name: str) -> bool:
        """Whether a caller with another value of `name` gets no answer of the first one's."""
        one, other = (b"AAAA", b"AAAB") if name.endswith("-bin") else (b"1", b"2")
        first = await self.read(model, [(name.encode(), one)])
        if isinstance(first, Outcome):
            return True  # the call fails for everybody
        await until(lambda: self._is(model, [(name.encode(), one)], "hit"), f"{name} to be stored")
        return await self.read(model, [(name.encode(), other)]) == "miss"

    async def _is(self, model: int, fields: Fields, result: str) -> bool:
        return await self.read(model, fields) == result


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_every_name_that_is_accepted_tells_callers_apart(redis: RedisServer, transport: str) -> None:
    accepted = [name for name in NAMES if not withheld((name,), transport)]
    assert {"authorization", "x-forwarded-client-cert", "x-forwarded-proto", "cookie", "x-user"} <= {*accepted}
    with HandUpstream().serving() as upstream:
        response = pb.GetFilesByModelResponse(success=True, data=pb.GetFilesByModelData(total=0))
        upstream.answers[READ.encode()] = answered(response.SerializeToString())
        settings = {"MEDIA_SERVICE_ADDR": f"127.0.0.1:{upstream.port}", "REDIS_ADDR": redis.addr}
        async with ProxyProcess(TRANSPORT=transport, CACHE_VARY_METADATA=",".join(accepted), **settings) as proxy:
            reader = Reader(proxy.listen_port)
            await until(lambda: reader._is(0, [], "hit"), "the cache to work")
            apart = await asyncio.gather(*(reader.tells_apart(at, name) for at, name in enumerate(accepted, 1)))
    assert [name for name, found in zip(accepted, apart, strict=True) if not found] == []


@pytest.mark.parametrize(
    ("transport", "name", "why"),
    [
        ("grpcio", "x-envoy-peer-metadata", "gRPC's library removes it"),
        ("grpcio", "endpoint-load-metrics-bin", "gRPC's library removes it"),
        ("envoy", "x-envoy-external-address", "Envoy takes it as an instruction"),
        ("envoy", "host", "with HTTP/2 it is the authority"),
        ("envoy", "content-type", "it describes a connection or a message, not a caller"),
    ],
)
def test_a_name_that_never_arrives_ends_the_start(transport: str, name: str, why: str) -> None:
    with pytest.raises(SettingError) as raised:
        Settings(transport=transport, cache_vary_metadata=("authorization", name))
    assert str(raised.value) == (
        f"CACHE_VARY_METADATA: {name!r} never reaches the cache with TRANSPORT={transport}: {why}; "
        "accepted: metadata that tells callers apart"
    )


def test_what_one_transport_keeps_to_itself_the_other_may_pass() -> None:
    assert not withheld(("host", "x-envoy-external-address"), "grpcio")
    assert not withheld(("endpoint-load-metrics-bin",), "envoy")
