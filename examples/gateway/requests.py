"""Turns HTTP requests into GraphQL requests: JSON, and the multipart form that carries files.

The form: https://github.com/jaydenseric/graphql-multipart-request-spec
"""

import json
from dataclasses import dataclass, field
from typing import Any

from strawberry.file_uploads.utils import replace_placeholders_with_files

from examples.gateway.multipart import boundary_of, parts_of


class BadRequestError(Exception):
    """The HTTP request is not a GraphQL request; the text says why, for HTTP 400."""


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """The value of an `Upload` variable."""

    file_name: str
    mime_type: str
    """Empty if the sender named none."""
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class GraphQLRequest:
    """One operation to execute."""

    query: str
    variables: dict[str, Any] | None
    operation_name: str | None


def read(content_type: str, body: bytes) -> GraphQLRequest:
    """Returns the operation in a POST body; BadRequestError if there is none."""
    boundary = boundary_of(content_type, body)
    return _request(_json("the body", body) if boundary is None else _operations(body, boundary))


def _operations(body: bytes, boundary: bytes) -> object:
    """Returns the operations of a multipart body, with its files in the places that its map names."""
    try:
        parts = parts_of(body, boundary)
    except ValueError as error:
        raise BadRequestError(str(error)) from error
    fields = {part.name: part.content for part in parts if part.filename is None}
    files = {
        part.name: UploadedFile(part.filename, part.content_type, part.content)
        for part in parts
        if part.filename is not None
    }
    operations, places = _json("operations", fields.get("operations", b"")), _json("map", fields.get("map", b""))
    try:
        return replace_placeholders_with_files(operations, places, files)  # type: ignore[arg-type]  # hence the except
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise BadRequestError("map must name the parts that hold files, and for each where it belongs") from error


def _json(what: str, text: bytes) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadRequestError(f"{what} must be JSON") from error


def _request(asked: object) -> GraphQLRequest:
    if not isinstance(asked, dict) or not isinstance(asked.get("query"), str):
        raise BadRequestError("a GraphQL request is a JSON object with a query")
    variables, name = asked.get("variables"), asked.get("operationName")
    if not isinstance(variables, dict | None) or not isinstance(name, str | None):
        raise BadRequestError("variables must be an object and operationName a string, or null")
    return GraphQLRequest(asked["query"], variables, name)
