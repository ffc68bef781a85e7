"""The servers of the tests: real Redis and RabbitMQ, the proxy as a process, and fakes that are named so.

Every server is a child process on a port of its own in a directory of its own; the kernel ends it with the test run.
"""
