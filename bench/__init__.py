"""Benchmarks: figures with the command that repeats them. `make bench`."""
