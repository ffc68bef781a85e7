"""A product service: products in memory, and events when they change. The proxy caches it by policy alone."""
