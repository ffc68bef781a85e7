"""`python -m examples.media_service`: serves until SIGTERM or Ctrl-C. Its settings: examples/README.md."""

import asyncio
import logging
import os
import signal
import sys

from opentelemetry.trace import Tracer

from examples.environment import masked
from examples.media_service.server import running
from examples.media_service.settings import MediaSettings
from examples.traces import tracing


async def _serve(settings: MediaSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with tracing("media-service") as tracer:
        await _serve_traced(settings, tracer, stop)


async def _serve_traced(settings: MediaSettings, tracer: Tracer | None, stop: asyncio.Event) -> None:
    async with running(settings, tracer) as service:
        urls = ", ".join(map(masked, settings.rabbitmq_addr))
        events = f"events to {urls}" if urls else "no RabbitMQ: events are off"
        print(f"media service ready on {service.address} (files in {service.directory}, {events})", flush=True)
        await stop.wait()


def main() -> int:
    """Returns the exit status: 0 after a signal, 1 if the address cannot be bound, 2 if a setting is not understood."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # it logs a lost connection as an error with a traceback
    try:
        settings = MediaSettings.read(os.environ)
    except ValueError as error:
        print(f"media service: {error}", file=sys.stderr)
        return 2
    try:
        asyncio.run(_serve(settings))
    except (RuntimeError, OSError) as error:
        print(f"media service: cannot serve on {settings.listen_addr}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
