"""What the proxy reports about its work: logs, metrics, traces, probes."""
