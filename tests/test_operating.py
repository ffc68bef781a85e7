"""proxy.operating: it is loaded once callers are served."""

import subprocess
import sys

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
        seen.append([name for name in ("aiohttp", "aio_pika", "opentelemetry.sdk") if name in sys.modules])
        assert not gc.isenabled()
        return port

app.Listener = Seen

async def main():
    stop = app.Stop()
    settings = Settings(listen_addr="127.0.0.1:0", redis_addr=None, rabbitmq_addr=(), probe_addr="127.0.0.1:0",
                        admin_addr="127.0.0.1:0", drain_time=1.0)
    running = asyncio.create_task(app.run_with(settings, sources={}, make_transport=app.listener, stop=stop))
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
    result = subprocess.run([sys.executable, "-c", _SERVED], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
