"""TRANSPORT=envoy: Envoy answers callers, and runs the caching core inside itself."""
