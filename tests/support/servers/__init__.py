"""The servers of the tests: real Redis and RabbitMQ, the proxy as a process, and fakes, which are named as such.

Every server is a child process with its own port and directory; the kernel ends it with the test run.
"""
