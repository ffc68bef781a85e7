"""Histogram bounds that Envoy's configuration needs too; here, `serve` need not load the metrics library for them."""

CALL_SECONDS = (0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Upper bounds of the buckets for the durations of calls, in seconds."""
