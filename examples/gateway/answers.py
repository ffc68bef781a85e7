"""The answers of the services behind the gateway: a result, or `ServiceError`."""

from collections.abc import Awaitable
from typing import Protocol, TypeVar

import grpc


class ServiceError(Exception):
    """A service is unavailable, or reports a failure; the text is for the caller."""


class Answer(Protocol):
    """The fields that every response has."""

    success: bool
    message: str


_Response = TypeVar("_Response", bound=Answer)


async def done(call: Awaitable[_Response], service: str) -> _Response:
    """Returns the answer of a call; ServiceError for a status other than OK and for `success = false`."""
    try:
        response = await call
    except grpc.aio.AioRpcError as error:
        raise ServiceError(f"the {service} service cannot be reached ({error.code().name})") from error
    if not response.success:
        raise ServiceError(response.message)
    return response
