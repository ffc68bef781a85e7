"""`LargeMessages`: the maximum bytes of large messages held in memory at once; further ones are refused.

Small messages do not count: the number of calls limits them. Large ones are refused rather than made to wait, because a
message that has arrived takes its memory while it waits. (Uploads do wait, before they are read: `byte_budget`.)
"""

from grpc import StatusCode

from proxy.calls.call import Reply

LARGE = 64 << 10
"""Bytes. What is longer counts; as much of a message is here anyway, in the flow-control window of its stream."""


class TooManyBytesError(Exception):
    """`LargeMessages.refusal` is what to tell the caller."""


class LargeMessages:
    """`capacity` in bytes. What `take()` took, its taker gives back."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.left = capacity
        self.refusal = Reply(
            code=StatusCode.RESOURCE_EXHAUSTED,
            limit="MAX_BYTES_IN_FLIGHT",
            details=f"the proxy holds at most {capacity} bytes of large messages at once (MAX_BYTES_IN_FLIGHT)",
        )

    def take(self, message: bytes) -> int:
        """The bytes taken, 0 for a message that is not large; TooManyBytesError when too few are left."""
        size = len(message)
        if size <= LARGE:
            return 0
        if size > self.left:
            raise TooManyBytesError
        self.left -= size
        return size

    def give(self, size: int) -> None:
        """Gives back what `take` answered."""
        self.left += size
