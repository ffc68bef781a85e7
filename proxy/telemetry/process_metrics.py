"""Metrics of the process: its build, its memory, its garbage collector and its wrong settings."""

import platform

from prometheus_client import CollectorRegistry, Gauge, Info
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from proxy import __version__


def declare(registry: CollectorRegistry) -> Gauge:
    """Declares the metrics. Returns the number of wrong settings, for the caller to set; libraries set the others."""
    bad_settings = Gauge(
        "media_cache_bad_settings",
        "Settings that are wrong, because of which ON_BAD_SETTINGS=forward forwards all calls uncached",
        registry=registry,
    )
    build = Info("media_cache_build", "What is running, as labels; the value is always 1", registry=registry)
    build.info({"version": __version__, "python": platform.python_version()})
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return bad_settings
