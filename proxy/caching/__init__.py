"""What is answered from the cache and when it may be: reads, fetches, invalidations, own writes. Knows no transport."""
