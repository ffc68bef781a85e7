"""The consistency checker: what callers saw against what the origin had, and the schedules and runs it judges."""
