"""Queries and commands to the admin interface of a running Envoy."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.envoy.admin import EnvoyAdmin
from tests.support.envoy_chain import EnvoyChain, admin_socket_of
from tests.support.raw_upstream import Context, Seen
from tests.support.servers.process import ProxyProcess
from tests.support.servers.waiting import until

METHOD = "/any.Service/Anything"


@pytest.fixture
async def admin(envoy_process: ProxyProcess) -> AsyncIterator[EnvoyAdmin]:
    admin = EnvoyAdmin(str(admin_socket_of(envoy_process)))
    yield admin
    await admin.close()


async def test_the_port_once_callers_are_served(admin: EnvoyAdmin, envoy_process: ProxyProcess) -> None:
    assert await admin.listening() == envoy_process.listen_port


async def test_forwarded_calls_are_counted_and_seen_while_they_last(
    admin: EnvoyAdmin, envoy_process: ProxyProcess
) -> None:
    gate = asyncio.Event()

    async def held(_: Seen, context: Context) -> None:
        await gate.wait()
        await context.write(b"")

    async def active() -> int:
        return (await admin.forwarded()).active

    async with EnvoyChain(proxy=envoy_process) as chain:
        before = (await admin.forwarded()).total
        chain.raw.behaviours[METHOD] = held
        call = asyncio.ensure_future(chain.unary(METHOD))
        await until(lambda: chain.raw.seen)
        assert await active() == 1
        gate.set()
        await call

        async def none() -> bool:
            return await active() == 0

        await until(none, "the call to be over")
        assert (await admin.forwarded()).total == before + 1


async def test_statistics_are_prometheus_text(admin: EnvoyAdmin) -> None:
    await admin.listening()
    families = list(text_string_to_metric_families(await admin.statistics()))
    prefixes = {sample.labels.get("envoy_http_conn_manager_prefix") for each in families for sample in each.samples}
    assert "callers" in prefixes
    assert all(family.name.startswith("envoy_") for family in families)


async def test_an_envoy_that_is_not_there_is_an_oserror(tmp_path: Path) -> None:
    admin = EnvoyAdmin(str(tmp_path / "none.sock"))
    with pytest.raises(OSError, match=r"none\.sock"):
        await admin.forwarded()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(admin.listening(), 0.1)
    await admin.close()
