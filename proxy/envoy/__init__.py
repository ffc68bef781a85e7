"""TRANSPORT=envoy: Envoy serves callers, and runs the caching core inside its own process."""
