"""The consistency checker, which compares what callers saw with what the origin had, and the schedules that it
judges."""
