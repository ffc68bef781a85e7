"""`python -m examples.gateway`: serves until SIGTERM or Ctrl-C. Its settings: examples/README.md."""

import asyncio
import logging
import os
import signal
import sys

from opentelemetry.trace import Tracer

from examples.gateway.server import running
from examples.gateway.settings import GatewaySettings
from examples.traces import tracing


async def _serve(settings: GatewaySettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with tracing("api-gateway") as tracer:
        await _serve_traced(settings, tracer, stop)


async def _serve_traced(settings: GatewaySettings, tracer: Tracer | None, stop: asyncio.Event) -> None:
    async with running(settings, tracer) as bound:
        print(f"gateway ready on http://{bound}/query (media service at {settings.media_service_addr})", flush=True)
        await stop.wait()


def main() -> int:
    """Returns the exit status: 0 after a signal, 1 if the address cannot be bound, 2 if a setting is not understood."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = GatewaySettings.read(os.environ)
    except ValueError as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 2
    try:
        asyncio.run(_serve(settings))
    except OSError as error:
        print(f"gateway: cannot serve on {settings.gateway_addr}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
