"""The tests: one file for each source file, against real servers from `tests.support.servers`."""
