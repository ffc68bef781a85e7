"""For operators: the HTTP API and page on ADMIN_ADDR, and the commands that use it."""
