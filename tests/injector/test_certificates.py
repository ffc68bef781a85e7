"""The keeper: first start, races, conflicts, renewal under traffic."""

import asyncio
import base64
import logging
import ssl
from datetime import UTC, datetime, timedelta

import pytest

from proxy.injector import pki
from proxy.injector.cluster import Cluster, connect
from proxy.injector.pki import Pair
from tests.injector.fake_api import CONFIGURATION, FakeApi
from tests.injector.replicas import DAY, NAME, SETTLE, Clock, Replica
from tests.support.servers.streams import StreamServer


async def test_first_start_makes_stores_trusts_and_serves(cluster: Cluster, api: FakeApi) -> None:
    replica = Replica(cluster, Clock())
    assert replica.problem() == "no certificate yet"
    await replica.keeper.check()
    assert replica.problem() is None
    assert replica.presented() == api.stored("tls.crt")
    assert api.bundle("pods.example") == api.bundle("namespaces.example") == api.stored("ca.crt")
    assert b"PRIVATE" not in api.bundle()
    expires = replica.number("media_cache_injector_certificate_expiry_timestamp_seconds")
    assert expires == Pair(api.stored("tls.crt"), b"", b"").expires.timestamp()
    calls = len(api.calls)
    await replica.keeper.check()
    assert api.calls[calls:] == ["GET /api/v1/namespaces/system/secrets/tls", f"GET {CONFIGURATION}"]


async def test_two_replicas_race_and_serve_the_same(cluster: Cluster, api: FakeApi) -> None:
    """Both find the Secret empty before either has stored a pair: the loser's write conflicts, and it reads again."""
    both_have_read = asyncio.Barrier(2)
    arrived = 0

    async def hold(method: str, path: str) -> None:
        nonlocal arrived
        if method == "GET" and path.endswith("/secrets/tls") and arrived < 2:
            arrived += 1
            await both_have_read.wait()

    api.before = hold
    async with connect("system", "tls", "injector") as other:
        one, two = Replica(cluster, Clock()), Replica(other, Clock())
        async with asyncio.timeout(10):
            await asyncio.gather(one.keeper.check(), two.keeper.check())
    assert one.problem() is None
    assert two.problem() is None
    assert one.presented() == two.presented() == api.stored("tls.crt")
    renewals = [each.number("media_cache_injector_certificate_renewals_total") for each in (one, two)]
    assert sorted(renewals) == [0.0, 1.0]


async def test_a_conflict_on_the_bundle_is_tried_again_and_loses_nobodys_ca(cluster: Cluster, api: FakeApi) -> None:
    foreign = pki.make(["x"], datetime.now(UTC), 90 * DAY).ca

    async def meanwhile(method: str, _path: str) -> None:
        if method == "PATCH" and api.configuration_version == 1:
            api.bundles["pods.example"] = base64.b64encode(foreign).decode()
            api.configuration_version += 1

    api.before = meanwhile
    replica = Replica(cluster, Clock())
    await replica.keeper.check()
    assert replica.problem() is None
    assert api.bundle() == foreign + api.stored("ca.crt")


async def test_endless_conflicts_are_a_failure_not_a_loop(cluster: Cluster, api: FakeApi) -> None:
    async def meanwhile(method: str, _path: str) -> None:
        if method == "PATCH":
            api.configuration_version += 1

    api.before = meanwhile
    replica = Replica(cluster, Clock())
    await replica.keeper.check()
    assert replica.problem() == "no certificate yet"
    assert replica.number("media_cache_injector_certificate_checks_total", outcome="failed") == 1


async def test_renewal_trusts_both_first_and_serves_the_new_one_later(cluster: Cluster, api: FakeApi) -> None:
    clock = Clock()
    replica, idle = Replica(cluster, clock), Replica(cluster, clock)
    for each in (replica, idle):
        await each.keeper.check()
    old, old_ca = replica.presented(), api.bundle()

    clock.now += 59 * DAY
    await replica.keeper.check()
    assert api.stored("tls.crt") == old, "not before two thirds of its life are over"

    clock.now += 2 * DAY
    await replica.keeper.check()
    new = api.stored("tls.crt")
    assert new != old
    assert api.bundle().startswith(old_ca)
    assert len(api.bundle()) > len(old_ca)
    await idle.keeper.check()
    for each in (replica, idle):
        assert each.presented() == old
        assert each.problem() is None

    clock.now += SETTLE
    for each in (replica, idle):
        await each.keeper.check()
        assert each.presented() == new
    assert replica.number("media_cache_injector_certificate_renewals_total") == 2


async def test_a_bundle_lost_during_a_renewal_comes_back_with_both(cluster: Cluster, api: FakeApi) -> None:
    """Replicas that still serve the old certificate must stay trusted, so the Secret keeps both CAs."""
    clock = Clock()
    replica = Replica(cluster, clock)
    await replica.keeper.check()
    clock.now += 61 * DAY
    await replica.keeper.check()
    api.bundles = dict.fromkeys(api.bundles, "")
    await Replica(cluster, clock).keeper.check()
    await replica.keeper.check()
    assert replica.presented() != api.stored("tls.crt"), "it serves the old one still"
    assert replica.problem() is None


async def test_a_replica_with_the_old_pair_does_not_take_the_new_ca_away(cluster: Cluster, api: FakeApi) -> None:
    clock = Clock()
    behind, ahead = Replica(cluster, clock), Replica(cluster, clock)
    await behind.keeper.check()
    api_secret = dict(api.secret or {})
    clock.now += 61 * DAY
    await ahead.keeper.check()
    bundle = api.bundle()
    api.secret = api_secret  # as a replica has it that read before the renewal
    clock.now -= 10 * DAY
    await behind.keeper.check()
    assert api.bundle() == bundle


async def test_no_request_fails_while_the_certificate_is_renewed(cluster: Cluster, api: FakeApi) -> None:
    """The caller trusts the caBundle of one round ago, as an API server does because of its cache."""
    clock = Clock()
    replica = Replica(cluster, clock)
    await replica.keeper.check()

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(4))
        await writer.drain()
        writer.close()

    server = StreamServer(respond, credentials=replica.keeper.context)
    leaves: list[bytes] = []

    async def call(bundle: bytes) -> None:
        context = ssl.create_default_context(cadata=bundle.decode())
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context, server_hostname=NAME)
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        leaves.append(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        writer.close()
        await writer.wait_closed()

    async with asyncio.timeout(30), server:
        cached = api.bundle()
        for step in (timedelta(0), 61 * DAY, SETTLE / 2, SETTLE, SETTLE):
            clock.now += step
            renewing = asyncio.create_task(replica.keeper.check())
            await asyncio.gather(*(call(cached) for _ in range(8)))
            await renewing
            await asyncio.gather(*(call(cached) for _ in range(8)))
            cached = api.bundle()
    assert len(leaves) == 80
    assert len(set(leaves)) == 2, "the renewal did happen under the traffic"


async def test_an_api_server_that_is_away_does_not_stop_serving(
    cluster: Cluster, api: FakeApi, caplog: pytest.LogCaptureFixture
) -> None:
    replica = Replica(cluster, Clock())
    await replica.keeper.check()
    api.down = True
    for _ in range(3):
        await replica.keeper.check()
    assert replica.problem() is None
    assert replica.number("media_cache_injector_certificate_checks_total", outcome="failed") == 3
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == [
        "the certificate check failed; the current certificate stays in use"
    ]


async def test_a_bundle_that_somebody_emptied_is_filled_again(cluster: Cluster, api: FakeApi) -> None:
    replica = Replica(cluster, Clock())
    await replica.keeper.check()
    full = api.bundle()
    api.bundles["pods.example"] = ""
    api.configuration_version += 1
    await replica.keeper.check()
    assert api.bundle() == full


@pytest.mark.parametrize("damage", [{"tls.key": b"x"}, {"tls.crt": b"x"}, {"ca.crt": b""}])
async def test_a_stored_pair_that_cannot_be_served_is_replaced(
    cluster: Cluster, api: FakeApi, damage: dict[str, bytes]
) -> None:
    await Replica(cluster, Clock()).keeper.check()
    assert api.secret is not None
    api.secret |= {name: base64.b64encode(value).decode() for name, value in damage.items()}
    replica = Replica(cluster, Clock())
    await replica.keeper.check()
    assert replica.problem() is None
    assert replica.presented() == api.stored("tls.crt")


async def test_a_missing_secret_is_told(cluster: Cluster, api: FakeApi, caplog: pytest.LogCaptureFixture) -> None:
    api.secret = None
    replica = Replica(cluster, Clock())
    await replica.keeper.check()
    assert replica.problem() == "no certificate yet"
    assert [record.error for record in caplog.records] == [  # type: ignore[attr-defined] # our own field
        'get Secret system/tls: 404 secrets "tls" not found'
    ]


async def test_it_checks_until_it_is_cancelled(cluster: Cluster) -> None:
    replica = Replica(cluster, Clock())
    pauses: list[float] = []
    third = asyncio.Event()

    def pause(seconds: float) -> float:
        pauses.append(seconds)
        if len(pauses) == 3:
            third.set()
        return 0.0

    task = asyncio.create_task(replica.keeper.run(30.0, pause))
    async with asyncio.timeout(10):
        await third.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(24.0 <= seconds <= 36.0 for seconds in pauses)
