"""proxy.starting: what a process that serves does not load."""

import subprocess
import sys

import pytest

_LATER = ("aiohttp", "aio_pika", "opentelemetry.sdk", "cel_expr_python", "yaml")


@pytest.mark.parametrize("module", ["proxy.envoy.lifespan", "proxy.app"])
def test_what_only_some_settings_need_is_not_loaded(module: str) -> None:
    _run(
        f"import sys; from proxy import starting; starting.load({module!r}); "
        "from proxy.policy.serving import served_policy; from proxy.policy.watched import Watched; "
        "constants = {'CACHE_BYPASS_PER_PAGE': 100}; "
        "served_policy('', constants=constants, default_upstream='', connect=None, watched=Watched()); "
        f"found = [name for name in {_LATER!r} if name in sys.modules]; assert not found, found"
    )


def test_what_was_left_out_at_the_start_can_be_loaded_later() -> None:
    _run("from proxy import starting; starting.load('proxy.app'); import opentelemetry.sdk.metrics")


def _run(program: str) -> None:
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
