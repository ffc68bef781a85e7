"""Metrics of the process: build, memory, garbage collector, and settings that were wrong at its start."""

import platform

from prometheus_client import CollectorRegistry, Gauge, Info
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from proxy import __version__


def declare(registry: CollectorRegistry) -> Gauge:
    """The number of wrong settings, to be set; all else is kept by the libraries."""
    bad_settings = Gauge(
        "media_cache_bad_settings",
        "Settings that were wrong at the start; nothing is cached because of them (ON_BAD_SETTINGS=forward)",
        registry=registry,
    )
    build = Info("media_cache_build", "Versions of the proxy and of Python, as labels; the value is always 1", registry=registry)
    build.info({"version": __version__, "python": platform.python_version()})
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return bad_settings
