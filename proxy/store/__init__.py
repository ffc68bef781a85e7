"""Redis: one shared, pipelined connection per node, the scripts that store answers and leases, and the breaker."""
