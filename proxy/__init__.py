"""A transparent caching sidecar for gRPC services; without a policy of one's own, for the media service."""

__version__ = "0.1.0"
