"""proxy.starting: what a process that serves has loaded when its first caller comes, and what it has not."""

import subprocess
import sys

import pytest

_LATER = ("aiohttp", "aio_pika", "opentelemetry.sdk")

_SERVED = """
import asyncio, gc, sys
from proxy import starting
app = starting.load("proxy.app")
from proxy.settings.config import Settings
from proxy.transport.server import Listener

seen = []

class Seen(Listener):
    async def start(self):
        port = await super().start()
        seen.append([name for name in {later!r} if name in sys.modules])
        assert not gc.isenabled()
        return port

app.Listener = Seen

async def main():
    stop = app.Stop()
    settings = Settings(listen_addr="127.0.0.1:0", redis_addr=None, rabbitmq_addr=(), probe_addr="127.0.0.1:0",
                        admin_addr="127.0.0.1:0", drain_time=1.0)
    running = asyncio.create_task(app.run_with(settings, sources={{}}, make_transport=app.listener, stop=stop))
    while not gc.isenabled() and not running.done():
        await asyncio.sleep(0.01)
    assert gc.get_freeze_count() > 10_000
    assert "aiohttp" in sys.modules
    stop.ask()
    stop.ask()
    assert await running == 0

asyncio.run(main())
assert seen == [[]], seen
"""


def test_callers_are_served_before_what_they_do_not_need_is_loaded() -> None:
    _run(_SERVED.format(later=_LATER))


@pytest.mark.parametrize("module", ["proxy.envoy.lifespan", "proxy.app"])
def test_what_only_some_settings_need_is_not_loaded(module: str) -> None:
    _run(
        "import sys; from proxy import starting; "
        f"starting.load({module!r}); found = [name for name in {_LATER!r} if name in sys.modules]; "
        "assert not found, found"
    )


def test_the_application_inside_envoy_is_loaded_once_it_is_called() -> None:
    _run("import sys, proxy.envoy.worker; assert 'proxy.app' not in sys.modules")


def test_what_was_left_out_at_the_start_can_be_loaded_later() -> None:
    _run("from proxy import starting; starting.load('proxy.app'); import opentelemetry.sdk.metrics")


def _run(program: str) -> None:
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
