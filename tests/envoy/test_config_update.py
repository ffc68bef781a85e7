"""What a scripted Envoy gets when the policy changes; tests/e2e/test_policy_reload has a real one."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from proxy.envoy.admin import EnvoyAdmin, Updates
from proxy.envoy.bootstrap import Place, clusters_of
from proxy.envoy.config_update import ConfigUpdate
from proxy.envoy.dynamic_config import CLUSTERS, ROUTES, write
from proxy.envoy.listener import routes
from proxy.envoy.services import Placed, placed
from proxy.settings.config import Settings
from tests.support.services import policy_in


class Admin(EnvoyAdmin):
    """An Envoy that reads the written files, and rejects those that the test names."""

    def __init__(self, directory: Path) -> None:
        super().__init__("")
        self._directory = directory
        self._read: dict[str, list[int]] = {}
        self.refuses = ""
        self.order: list[str] = []

    async def updates(self, subscription: str) -> Updates:
        name = "clusters" if subscription.endswith("cds") else "routes"
        seen = self._read.setdefault(name, [])
        if (time := (self._directory / f"{name}.json").stat().st_mtime_ns) not in seen:
            seen.append(time)
            self.order.append(name)
        return Updates(len(seen), int(self.refuses == name and len(seen) > 1))

    def clusters(self) -> set[str]:
        resources = json.loads((self._directory / "clusters.json").read_text())["resources"]
        return {each["name"] for each in resources}


def services(directory: Path, *, product: str, catalogue: str = "") -> Sequence[Placed]:
    return placed(Settings(policy=policy_in(directory, product=product, catalogue=catalogue)))


def renewal(directory: Path, first: Sequence[Placed]) -> tuple[ConfigUpdate, Admin]:
    place, admin = Place(directory, "pyvoy.so", "roots.pem"), Admin(directory)
    settings = Settings(policy="p.yaml")
    write(directory, CLUSTERS, clusters_of(settings, place, first))
    write(directory, ROUTES, [routes(settings, first)])
    return ConfigUpdate(settings, place, admin, first), admin


async def test_clusters_come_before_routes_and_stay_for_calls_in_progress(tmp_path: Path) -> None:
    both = services(tmp_path, product="shop:1", catalogue="catalogue:2")
    one = services(tmp_path, product="shop:1")
    found, admin = renewal(tmp_path, both)
    gone = set(both[2].clusters)
    assert await found.take_up(one) == ()
    assert admin.order == ["clusters", "clusters", "routes", "routes"]  # each is asked for before and after
    assert gone < admin.clusters()
    assert await found.take_up(one) == ()
    moved = services(tmp_path, product="shop:3")
    assert await found.take_up(moved) == ()
    assert not gone & admin.clusters()


@pytest.mark.parametrize("refused", ["clusters", "routes"])
async def test_what_envoy_refuses_waits_for_the_next_start(
    tmp_path: Path, refused: str, caplog: pytest.LogCaptureFixture
) -> None:
    found, admin = renewal(tmp_path, services(tmp_path, product="shop:1"))
    admin.refuses = refused
    assert await found.take_up(services(tmp_path, product="shop:2")) == ("the routes of Envoy",)
    assert f"Envoy keeps the routes of the previous policy: it rejects its {refused}" in caplog.text


async def test_an_address_that_envoy_cannot_reach_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found, _ = renewal(tmp_path, services(tmp_path, product="shop:1"))
    assert await found.take_up(services(tmp_path, product="xds:///shop")) == ("the routes of Envoy",)
    assert "'xds:///shop' cannot be reached with TRANSPORT=envoy" in caplog.text
