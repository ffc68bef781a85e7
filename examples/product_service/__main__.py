"""`python -m examples.product_service`: serves until SIGTERM or Ctrl-C. Its settings: examples/README.md."""

import asyncio
import logging
import os
import signal
import sys

from examples.product_service.server import running
from examples.product_service.settings import ProductSettings


async def _serve(settings: ProductSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(settings) as service:
        print(f"product service ready on {service.address}", flush=True)
        await stop.wait()


def main() -> int:
    """Returns the exit status: 0 after a signal, 1 if the address cannot be bound, 2 if a setting is not understood."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # it logs a lost connection as an error with a traceback
    try:
        settings = ProductSettings.read(os.environ)
    except ValueError as error:
        print(f"product service: {error}", file=sys.stderr)
        return 2
    try:
        asyncio.run(_serve(settings))
    except (RuntimeError, OSError) as error:
        print(f"product service: cannot serve on {settings.listen_addr}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
