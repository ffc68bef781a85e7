"""A transparent gRPC caching sidecar for `media.MediaService`."""

__version__ = "0.1.0"
