"""What is told of the proxy's work: logs, metrics, traces, probes."""
