"""Bounds of histograms that Envoy also uses: so `serve` can configure Envoy without loading the metrics library."""

CALL_SECONDS = (0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""How long calls take."""
