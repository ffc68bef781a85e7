"""How a serving process starts: it loads only what its first call needs.

Garbage collection is off until the start is over. Objects made meanwhile stay alive, and collections would scan them
again and again, which took a tenth of the time of the imports (measured).
"""

import gc
import importlib
import sys
from types import ModuleType

_SDK_METRICS = "opentelemetry.sdk.metrics"


def load(name: str) -> ModuleType:
    """Imports what the process is made of, once at its begin.

    redis-py loads OpenTelemetry's metrics SDK where it is installed, for metrics of its own, which `serve` never turns
    on: here it is as if that was not installed. Whoever asks for it afterwards has it.
    """
    gc.disable()
    if _SDK_METRICS in sys.modules:
        return importlib.import_module(name)
    # None: an import of it raises ModuleNotFoundError.
    sys.modules[_SDK_METRICS] = None  # type: ignore[assignment]  # typeshed has modules only
    try:
        return importlib.import_module(name)
    finally:
        del sys.modules[_SDK_METRICS]


def leave_alone_what_stays() -> None:
    """The start is over. Modules, classes and what was built are there to the end, some 75,000 objects. Each full
    collection went through them all: 30 ms in which nothing is served, once in 10,000 calls (measured).

    There is no collection before: callers are served by now, and of all that fewer than 2,000 objects are garbage.
    """
    gc.freeze()
    gc.enable()
