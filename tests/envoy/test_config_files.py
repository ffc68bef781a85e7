"""Envoy's files for a policy's services are written without loading the policy into `serve`."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.core import Core
from proxy.envoy.bootstrap import Place, clusters_of
from proxy.envoy.config_files import written
from proxy.envoy.dynamic_config import CLUSTERS, ROUTES, write
from proxy.envoy.listener import routes
from proxy.envoy.services import placed, placed_by
from proxy.errors import BadPolicyError
from proxy.policy.mistakes import PolicyError
from proxy.policy.watched import Watched
from proxy.settings.config import Settings
from proxy.telemetry.metrics import Metrics
from tests.support.services import catalogue_serving, policy_in

SHOP = "hipstershop.ProductCatalogService"
READ = """{method: ListProducts, tag: "'products'", ttl: 1m}"""


def place(directory: Path) -> Place:
    return Place(directory, "pyvoy.so", "roots.pem")


def told(directory: Path) -> list[str]:
    """The content of the files for Envoy."""
    return [(directory / f"{name}.json").read_text() for name in ("clusters", "routes")]


def files_of(directory: Path, settings: Settings) -> list[str]:
    """The content that they would have with the policy as it is read here."""
    services = placed(settings)
    write(directory, CLUSTERS, clusters_of(settings, place(directory), services))
    write(directory, ROUTES, [routes(settings, services)])
    return told(directory)


def test_envoys_files_are_of_the_policy(tmp_path: Path) -> None:
    settings = Settings(policy=policy_in(tmp_path, product="shop:1"))
    written(settings, place(tmp_path))
    assert "ProductService/GetProductByID" in told(tmp_path)[1]
    found = told(tmp_path)
    assert found == files_of(tmp_path, settings)
    assert "product.ProductService" not in (tmp_path / "envoy.json").read_text()


def test_without_a_policy_all_is_in_the_configuration(tmp_path: Path) -> None:
    written(Settings(), place(tmp_path))
    assert [each.name for each in tmp_path.iterdir()] == ["envoy.json"]
    assert "MediaService/GetFilesByModel" in (tmp_path / "envoy.json").read_text()


def test_every_mistake_is_told_at_its_place(tmp_path: Path) -> None:
    settings = Settings(policy=policy_in(tmp_path, product="shop:1", more="  - {exchange: e}\n"))
    with pytest.raises(PolicyError) as apart:
        written(settings, place(tmp_path))
    with pytest.raises(PolicyError) as here:
        placed(settings)
    assert apart.value.mistakes == here.value.mistakes
    assert str(apart.value) == str(here.value)


def test_an_upstream_that_envoy_cannot_reach_is_the_policys_fault(tmp_path: Path) -> None:
    settings = Settings(policy=policy_in(tmp_path, product="xds:///shop"))
    with pytest.raises(BadPolicyError, match="POLICY: upstream: 'xds:///shop' cannot be reached with TRANSPORT=envoy"):
        written(settings, place(tmp_path))


def test_nothing_of_it_stays(tmp_path: Path) -> None:
    path = policy_in(tmp_path, product="shop:1")
    program = (
        "import sys; from pathlib import Path; from proxy.envoy.config_files import Place, written; "
        "from proxy.settings.config import Settings; "
        f"written(Settings(policy={path!r}), Place(Path({str(tmp_path)!r}), 'x', 'y')); "
        "found = [name for name in ('grpc', 'cel_expr_python', 'yaml', 'google.protobuf') if name in sys.modules]; "
        "assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def test_whoever_serves_has_the_policy_that_envoy_was_told_of_though_its_files_have_changed(
    tmp_path: Path,
) -> None:
    """Between the two reads, the policy and its descriptors are replaced."""
    settings = Settings(policy=policy_in(tmp_path, product="shop:1"), redis_addr=None)
    expected = placed(settings)
    written(settings, place(tmp_path))
    policy_in(tmp_path, product="shop:2", change=("method: GetProductByID", "method: GetAllProductz"))
    (tmp_path / "product.binpb").write_bytes(b"\xff")
    core = Core.build(settings, Metrics(), files=Watched.saved(place(tmp_path).policy))
    try:
        assert placed_by(core.policy, settings) == expected
        assert core.files.changed  # so the first check takes the change up
    finally:
        await core.close()


async def test_so_has_it_where_the_service_says_itself_what_it_looks_like(tmp_path: Path) -> None:
    async with catalogue_serving() as (_, address):
        text = (
            f"version: 1\nservices: [{{name: {SHOP}, upstream: '{address}', descriptors: reflection, reads: [{READ}]}}]"
        )
        (tmp_path / "policy.yaml").write_text(text)
        settings = Settings(policy=str(tmp_path / "policy.yaml"), redis_addr=None)
        expected = await asyncio.to_thread(placed, settings)
        await asyncio.to_thread(written, settings, place(tmp_path))
    core = Core.build(settings, Metrics(), files=Watched.saved(place(tmp_path).policy))  # there is no server to ask
    try:
        assert placed_by(core.policy, settings) == expected
    finally:
        await core.close()
