"""`LargeMessages`: the maximum number of bytes of large messages in memory at once; further messages are refused.

Small messages do not count, because the number of calls limits them. Large ones are refused rather than made to wait,
because a message that has arrived occupies memory while it waits. (Uploads do wait, before they are read:
`byte_budget`.)
"""

from grpc import StatusCode

from proxy.calls.call import Reply

LARGE = 64 << 10
"""Bytes; only longer messages count. So much of a message is in memory anyway, in its stream's flow-control window."""


class TooManyBytesError(Exception):
    """There is no memory for a message; `LargeMessages.refusal` is the reply for the caller."""


class LargeMessages:
    """A budget of `capacity` bytes. Each caller of `take` must return the bytes with `give`."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.left = capacity
        self.refusal = Reply(
            code=StatusCode.RESOURCE_EXHAUSTED,
            limit="MAX_BYTES_IN_FLIGHT",
            details=f"the proxy holds at most {capacity} bytes of large messages at once (MAX_BYTES_IN_FLIGHT)",
        )

    def take(self, message: bytes) -> int:
        """Returns the bytes taken, 0 for a message that is not large. Raises TooManyBytesError if too few are left."""
        size = len(message)
        if size <= LARGE:
            return 0
        if size > self.left:
            raise TooManyBytesError
        self.left -= size
        return size

    def give(self, size: int) -> None:
        """Gives back what `take` returned."""
        self.left += size
