"""How a serving process starts: it loads only what its first call needs.

Garbage collection is off until the start is over. Objects made meanwhile stay alive, and collections would scan them
again and again, which took a tenth of the time of the imports (measured).
"""

import gc
import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_SDK_METRICS = "opentelemetry.sdk.metrics"
_WHOLE = ("redis", "redis.asyncio")
"""Packages of which we take some modules, and which load all of theirs: 5 MB, and 30 ms, for clients, a Cluster's and
Sentinels' among them, and the commands of every module of Redis."""


def load(name: str) -> ModuleType:
    """Imports what the process is made of, once at its begin.

    redis-py loads OpenTelemetry's metrics SDK where it is installed, for metrics of its own, which `serve` never turns
    on: here it is as if that was not installed. Whoever asks for it afterwards has it.
    """
    gc.disable()
    for package in _WHOLE:
        if package not in sys.modules:
            _in_parts(package)
    if _SDK_METRICS in sys.modules:
        return importlib.import_module(name)
    # None: an import of it raises ModuleNotFoundError.
    sys.modules[_SDK_METRICS] = None  # type: ignore[assignment]  # typeshed has modules only
    try:
        return importlib.import_module(name)
    finally:
        del sys.modules[_SDK_METRICS]


def _in_parts(name: str) -> None:
    """Its modules can be imported without its own code; that runs once somebody asks for one of its names."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        return
    package, run = importlib.util.module_from_spec(spec), spec.loader.exec_module

    def missing(attribute: str) -> Any:
        if attribute.startswith("__"):  # the import system asks for some
            raise AttributeError(attribute)
        if importlib.util.find_spec(f"{name}.{attribute}") is not None:
            return importlib.import_module(f"{name}.{attribute}")
        del package.__getattr__
        run(package)
        return getattr(package, attribute)

    package.__getattr__ = missing  # type: ignore[method-assign]  # PEP 562
    sys.modules[name] = package
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, package)


@contextmanager
def without_authorities() -> Iterator[None]:
    """What this thread imports meanwhile loads none of the system's certificate authorities: aiohttp loads them twice,
    2 MB and 40 ms, for clients that ask other servers by TLS. Nothing in `serve` is one.
    """
    import ssl  # noqa: PLC0415 -- the command line needs none

    ours = threading.get_ident()

    def read(context: ssl.SSLContext) -> None:
        if threading.get_ident() != ours:
            super(ssl.SSLContext, context).set_default_verify_paths()

    vars_of: Any = ssl.SSLContext  # which has none of its own: it is `_ssl`'s
    vars_of.set_default_verify_paths = read
    try:
        yield
    finally:
        del vars_of.set_default_verify_paths


def leave_alone_what_stays() -> None:
    """The start is over. Modules, classes and what was built are there to the end, some 75,000 objects. Each full
    collection went through them all: 30 ms in which nothing is served, once in 10,000 calls (measured).

    There is no collection before: callers are served by now, and of all that fewer than 2,000 objects are garbage.
    """
    gc.freeze()
    gc.enable()
