"""proxy.envoy.placing: the policy's services, without what loading them takes."""

import subprocess
import sys
from pathlib import Path

import pytest

from proxy.envoy.placing import placed_apart
from proxy.envoy.services import builtin, placed
from proxy.policy.mistakes import PolicyError
from proxy.settings.config import Settings
from tests.support.services import policy_in


def test_they_are_those_that_the_policy_has(tmp_path: Path) -> None:
    settings = Settings(policy=policy_in(tmp_path, product="shop:1"))
    assert placed_apart(settings) == placed(settings)
    assert placed_apart(Settings()) == builtin(Settings())


def test_every_mistake_is_told_at_its_place(tmp_path: Path) -> None:
    settings = Settings(policy=policy_in(tmp_path, product="shop:1", more="  - {exchange: e}\n"))
    with pytest.raises(PolicyError) as apart:
        placed_apart(settings)
    with pytest.raises(PolicyError) as here:
        placed(settings)
    assert apart.value.mistakes == here.value.mistakes
    assert str(apart.value) == str(here.value)


def test_nothing_of_it_stays(tmp_path: Path) -> None:
    path = policy_in(tmp_path, product="shop:1")
    program = (
        "import sys; from proxy.envoy.placing import placed_apart; from proxy.settings.config import Settings; "
        f"assert len(placed_apart(Settings(policy={path!r}))) == 2; "
        "found = [name for name in ('grpc', 'cel_expr_python', 'yaml', 'google.protobuf') if name in sys.modules]; "
        "assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
