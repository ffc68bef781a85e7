"""What is answered from the cache, and when: reads, fetches, invalidations, own writes. Knows nothing of transports."""
