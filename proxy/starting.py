"""Makes the start of a serving process quick: it imports only what the first call needs.

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
"""Packages that import all their modules, of which the proxy needs a few. The others, such as clients for Clusters and
Sentinels and the commands of all Redis modules, take 5 MB and 30 ms."""


def load(name: str) -> ModuleType:
    """Imports the module of the composition root, and turns garbage collection off.

    redis-py imports OpenTelemetry's metrics SDK if it is installed, for metrics that `serve` never turns on. So during
    this import the SDK appears not to be installed; afterwards it can be imported.
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
    """Registers a package without running its code, so that its modules can be imported. The code runs when a name is
    asked for that is not one of its modules.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        return
    package, run = importlib.util.module_from_spec(spec), spec.loader.exec_module

    def missing(attribute: str) -> Any:
        if attribute.startswith("__"):  # such as those that the import system asks for
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
    """Keeps imports of this thread from loading the system's certificate authorities. aiohttp loads them twice (2 MB,
    40 ms) for clients that connect to other servers over TLS, and `serve` has no such client.
    """
    import ssl  # noqa: PLC0415 -- the command line needs none

    ours = threading.get_ident()

    def read(context: ssl.SSLContext) -> None:
        if threading.get_ident() != ours:
            super(ssl.SSLContext, context).set_default_verify_paths()

    vars_of: Any = ssl.SSLContext  # it inherits the method from `_ssl`'s class, so the attribute can simply be deleted
    vars_of.set_default_verify_paths = read
    try:
        yield
    finally:
        del vars_of.set_default_verify_paths


def leave_alone_what_stays() -> None:
    """Ends the start: garbage collection is on again, but skips the objects that exist now.

    Modules, classes and the parts of the proxy, some 75,000 objects, live until the end. Without this each full
    collection scanned them: 30 ms in which nothing is served, once in 10,000 calls (measured).

    There is no collection first, since callers are being served by now and fewer than 2,000 objects are garbage.
    """
    gc.freeze()
    gc.enable()
