"""gRPC on both sides: the listener, what it lets in, and calls to the media service."""
