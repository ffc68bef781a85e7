"""Bounds of histograms that Envoy is told, too: `serve` tells it without loading what keeps metrics."""

CALL_SECONDS = (0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""How long calls take."""
