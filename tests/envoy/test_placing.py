"""proxy.envoy.placing: the policy's services, without what loading them takes."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.core import Core
from proxy.envoy.placing import placed_apart
from proxy.envoy.services import builtin, placed, placed_by
from proxy.policy.mistakes import PolicyError
from proxy.policy.watched import Watched
from proxy.settings.config import Settings
from proxy.telemetry.metrics import Metrics
from tests.support.services import catalogue_serving, policy_in

SHOP = "hipstershop.ProductCatalogService"
READ = """{method: ListProducts, tag: "'products'", ttl: 1m}"""


def test_they_are_those_that_the_policy_has(tmp_path: Path) -> None:
    settings = Settings(policy=policy_in(tmp_path, product="shop:1"))
    assert placed_apart(settings, tmp_path / "read") == placed(settings)
    assert placed_apart(Settings(), tmp_path / "none") == builtin(Settings())


def test_every_mistake_is_told_at_its_place(tmp_path: Path) -> None:
    settings = Settings(policy=policy_in(tmp_path, product="shop:1", more="  - {exchange: e}\n"))
    with pytest.raises(PolicyError) as apart:
        placed_apart(settings, tmp_path / "read")
    with pytest.raises(PolicyError) as here:
        placed(settings)
    assert apart.value.mistakes == here.value.mistakes
    assert str(apart.value) == str(here.value)


def test_nothing_of_it_stays(tmp_path: Path) -> None:
    path = policy_in(tmp_path, product="shop:1")
    program = (
        "import sys; from pathlib import Path; from proxy.envoy.placing import placed_apart; "
        "from proxy.settings.config import Settings; "
        f"assert len(placed_apart(Settings(policy={path!r}), Path({str(tmp_path / 'read')!r}))) == 2; "
        "found = [name for name in ('grpc', 'cel_expr_python', 'yaml', 'google.protobuf') if name in sys.modules]; "
        "assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def test_whoever_serves_has_the_policy_that_envoy_was_told_of_though_its_files_have_changed(
    tmp_path: Path,
) -> None:
    """Between the two readings the policy is replaced, and its descriptors are."""
    settings = Settings(policy=policy_in(tmp_path, product="shop:1"), redis_addr=None)
    told = placed_apart(settings, tmp_path / "read")
    policy_in(tmp_path, product="shop:2", change=("method: GetProductByID", "method: GetAllProductz"))
    (tmp_path / "product.binpb").write_bytes(b"\xff")
    core = Core.build(settings, Metrics(), files=Watched.saved(tmp_path / "read"))
    try:
        assert placed_by(core.policy, settings) == told
        assert core.files.changed  # and so the first look takes them up
    finally:
        await core.close()


async def test_so_has_it_where_the_service_says_itself_what_it_looks_like(tmp_path: Path) -> None:
    async with catalogue_serving() as (_, address):
        text = (
            f"version: 1\nservices: [{{name: {SHOP}, upstream: '{address}', descriptors: reflection, reads: [{READ}]}}]"
        )
        (tmp_path / "policy.yaml").write_text(text)
        settings = Settings(policy=str(tmp_path / "policy.yaml"), redis_addr=None)
        told = await asyncio.to_thread(placed_apart, settings, tmp_path / "read")
    core = Core.build(settings, Metrics(), files=Watched.saved(tmp_path / "read"))  # nobody is there to be asked
    try:
        assert placed_by(core.policy, settings) == told
    finally:
        await core.close()
