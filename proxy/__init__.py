"""A transparent caching sidecar for gRPC services. Its built-in policy is for the media service."""

__version__ = "0.1.0"
