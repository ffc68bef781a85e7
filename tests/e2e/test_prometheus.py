"""A real Prometheus scrapes a running proxy, and finds in it what the alerts and the dashboard ask for."""

import json
import math
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aio_pika
import pytest
import pytest_asyncio

from tests.support.calling import Gateway, publish
from tests.support.servers.children import free_port
from tests.support.servers.process import ROOT, ProxyProcess
from tests.support.servers.prometheus import Prometheus, promtool
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until

FILES = ROOT / "charts/media-cache-proxy/files"
RULES = FILES / "alerts/proxy.yaml"
DASHBOARD = json.loads((FILES / "dashboards/media-cache-proxy.json").read_text())

_WHERE = {"namespace": "shop", "pod": "gateway-0"}
_VARIABLES = {"$namespace": "shop", "$pod": ".*", "$__rate_interval": "60s", "$__range": "60s"}
# The injector's metrics are the webhook's, not the proxy's.
_OURS = re.compile(r"\b(?:media_cache(?!_injector)|rpc_server|rpc_client|process)_\w+")


@pytest_asyncio.fixture
async def proxy(redis: RedisServer, rabbit: RabbitServer) -> AsyncIterator[ProxyProcess]:
    """A proxy with all it can be connected to, before its first call."""
    url = await rabbit.vhost()
    async with FakeMediaServer() as upstream:
        upstream.media.add("User", 1)
        async with ProxyProcess(REDIS_ADDR=redis.addr, RABBITMQ_ADDR=url, MEDIA_SERVICE_ADDR=upstream.addr) as proxy:

            async def connected() -> bool:
                return await proxy.metric("media_cache_dependency_up") == 3

            await until(connected, "the proxy to be connected to everything")
            yield proxy


def _scraping(proxy: ProxyProcess) -> Prometheus:
    return Prometheus(f"127.0.0.1:{proxy.probe_port}", labels=_WHERE, rules=[RULES])


async def _traffic(proxy: ProxyProcess, prometheus: Prometheus, events: int) -> None:
    """A miss, a hit, an upload and an event; returns once Prometheus has seen the last of them, the `events`th."""
    async with Gateway(proxy.addr) as gateway:
        for _ in range(2):
            await gateway.read()
        await gateway.upload()
    await publish(proxy.settings["RABBITMQ_ADDR"], 1)

    async def seen() -> bool:
        return await prometheus.value('media_cache_events_total{kind="uploaded",outcome="applied"}') == events

    await until(seen, f"Prometheus to have seen event {events}")


async def test_it_is_scraped_and_counts_what_was_called(proxy: ProxyProcess) -> None:
    async with _scraping(proxy) as prometheus:
        await _traffic(proxy, prometheus, 1)
        (target,) = await prometheus.targets()
        assert (target["health"], target["lastError"]) == ("up", "")
        # The queues of a first start mean a flush, since events may have been missed before.
        assert await prometheus.value('media_cache_invalidations_total{source="event"}') == 2
        for result, count in (("hit", 1), ("miss", 1), ("bypass", 0)):
            assert await prometheus.value(f'media_cache_requests_total{{result="{result}"}}') == count
        up = {
            each["metric"]["dependency"]: each["value"][1]
            for each in await prometheus.query("media_cache_dependency_up")
        }
        assert up == {"redis": "1", "rabbitmq": "1", "upstream": "1"}


async def test_promtool_finds_nothing_to_say_about_the_metrics(proxy: ProxyProcess) -> None:
    async with _scraping(proxy) as prometheus:
        await _traffic(proxy, prometheus, 1)
    _, text = await proxy.probe("/metrics")
    # (Envoy's own statistics are as Envoy has them: without help texts.)
    ours = "".join(line for line in text.splitlines(keepends=True) if " envoy_" not in f" {line}")
    checked = promtool("check", "metrics", stdin=ours)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def _panels() -> Iterator[dict[str, Any]]:
    yield from (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def _queries() -> Iterator[tuple[str, str]]:
    """Title and expression of each of the dashboard's queries."""
    for panel in _panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def test_the_dashboard_is_one_that_grafana_can_import() -> None:
    assert DASHBOARD["schemaVersion"] >= 36
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource", "namespace", "pod"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    assert "id" not in DASHBOARD, "an id of another Grafana keeps it from being imported"
    for panel in _panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["description"], panel["title"]
        for target in panel["targets"]:
            assert 'namespace=~"$namespace",pod=~"$pod"' in target["expr"], panel["title"]


def test_no_panel_covers_another() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            assert cell not in taken, f"{panel['title']} covers {taken[cell]}"
            assert cell[0] < 24
            taken[cell] = panel["title"]


async def test_every_panel_shows_a_number_for_a_proxy_that_was_called(proxy: ProxyProcess) -> None:
    async with _scraping(proxy) as prometheus:
        # Twice: a series that its first increment made has no rate before the second.
        await _traffic(proxy, prometheus, 1)
        await _traffic(proxy, prometheus, 2)
        for title, expression in _queries():
            # Yesterday there was no Prometheus.
            asked = expression.replace(" offset 1d", "")
            for variable, value in _VARIABLES.items():
                asked = asked.replace(variable, value)
            assert "$" not in asked, title
            found = [float(each["value"][1]) for each in await prometheus.query(asked)]
            assert found, f"{title}: {asked} has no result"
            assert not any(math.isnan(value) for value in found), f"{title}: {asked} is NaN"


async def test_every_metric_that_is_asked_for_exists(proxy: ProxyProcess) -> None:
    async with _scraping(proxy) as prometheus:
        await _traffic(proxy, prometheus, 1)
        rules = await prometheus.rules()
    _, text = await proxy.probe("/metrics")
    exposed = set(re.findall(r"^(?:# TYPE )?(\w+)", text, re.MULTILINE))  # a histogram by its own name, too
    exposed.add("media_cache_envoy_restarts_total")  # with TRANSPORT=envoy
    exposed |= {rule["name"].partition(":")[2].partition(":")[0] for rule in rules if rule["type"] == "recording"}
    asked = [(rule["name"], rule["query"]) for rule in rules] + list(_queries())
    asked += [(name, (ROOT / "docs" / name).read_text()) for name in ("operations.md", "runbooks.md")]
    names = [(where, name) for where, expression in asked for name in _OURS.findall(expression)]
    assert len(names) > 50
    assert [(where, name) for where, name in names if name not in exposed] == []


async def test_an_alert_is_pending_as_soon_as_redis_is_lost(own_redis: RedisServer) -> None:
    async with ProxyProcess(REDIS_ADDR=own_redis.addr) as proxy, _scraping(proxy) as prometheus:

        async def pending() -> set[str]:
            return {alert["metric"]["alertname"] for alert in await prometheus.query("ALERTS")}

        async def all_evaluated() -> bool:
            return await prometheus.value('media_cache_dependency_up{dependency="redis"}') == 1

        await until(all_evaluated, "a scrape with Redis up")
        assert "MediaCacheRedisLost" not in await pending()
        own_redis.kill()

        async def noticed() -> bool:
            return "MediaCacheRedisLost" in await pending()

        await until(noticed, "the alert to be pending")
        assert "MediaCacheEventConsumerLost" not in await pending(), "RabbitMQ is not configured"


@pytest.fixture
async def exporting_rabbit() -> AsyncIterator[tuple[RabbitServer, str]]:
    """A broker with its Prometheus plugin, and the plugin's `host:port`."""
    broker, port = RabbitServer(), free_port()
    (broker.directory / "enabled_plugins").write_text("[rabbitmq_prometheus].\n")
    with (broker.directory / "rabbitmq.conf").open("a") as config:
        config.write(f"prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {port}\n")
    async with broker:
        yield broker, f"127.0.0.1:{port}"


async def test_the_queue_depth_is_what_rabbitmqs_plugin_exports(exporting_rabbit: tuple[RabbitServer, str]) -> None:
    """Three events that nobody consumes, in our queue and in a foreign one, seen by both ways to scrape queues."""
    broker, exporter = exporting_rabbit
    connection = await aio_pika.connect(await broker.vhost())
    async with connection:
        channel = await connection.channel()
        for name in ("api-gateway-media-cache-uploaded", "thumbnails-uploaded"):
            queue = await channel.declare_queue(name, durable=True)
            for _ in range(3):
                await channel.default_exchange.publish(aio_pika.Message(b"{}"), routing_key=queue.name)
    for path in ("/metrics/per-object", "/metrics/detailed?family=queue_coarse_metrics"):
        async with Prometheus(exporter, path=path, rules=[RULES]) as prometheus:

            async def counted(prometheus: Prometheus = prometheus) -> bool:
                return await prometheus.value("namespace_vhost_queue:media_cache_events_ready:max") == 3

            await until(counted, f"{path} to show the three events of our queue")
            (found,) = await prometheus.query("namespace_vhost_queue:media_cache_events_ready:max")
            assert found["metric"]["queue"] == "api-gateway-media-cache-uploaded"
            assert found["metric"]["vhost"] == "test-1"
