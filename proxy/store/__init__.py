"""Redis: one shared, pipelined connection a node, the scripts that keep answers and leases right, and the breaker."""
