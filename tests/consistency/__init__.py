"""The consistency checker, which compares what callers saw with what the origin had; schedules and runs for it."""
