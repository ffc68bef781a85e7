"""gRPC on both sides: the listener and its limits, and calls upstream."""
