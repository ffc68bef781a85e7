"""The GraphQL types, and their conversion from the media service's messages. Ids are `ID`: int64 as exact text."""

from typing import NewType, Self

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

from examples.gateway.requests import UploadedFile
from proxy.pb import media_pb2 as pb

Int64 = NewType("Int64", int)
_INT64 = range(-(2**63), 2**63)


def int64(text: str, what: str) -> int:
    """Returns an id as a number; GraphQLError if it is not a 64-bit integer."""
    try:
        number = int(text)
    except ValueError:
        number = 2**63
    if number not in _INT64:
        raise GraphQLError(f"{what} must be a whole number of 64 bits, not {text!r}")
    return number


def _uploaded(value: object) -> UploadedFile:
    if not isinstance(value, UploadedFile):
        raise GraphQLError("a file must be sent as a part of a multipart request")
    return value


SCALARS: dict[object, ScalarDefinition] = {
    Int64: strawberry.scalar(
        name="Int64", description="A whole number of 64 bits, exact.", serialize=int, parse_value=int
    ),
    UploadedFile: strawberry.scalar(name="Upload", description="A file of a multipart request.", parse_value=_uploaded),
}


@strawberry.type
class Media:
    """A file that belongs to a model. Its URL is signed for each read."""

    id: strawberry.ID
    uuid: str
    model_type: str
    model_id: strawberry.ID
    collection_name: str
    name: str
    file_name: str
    mime_type: str
    size: Int64
    order_column: int
    created_at: Int64
    updated_at: Int64
    presigned_url: str = strawberry.field(name="presignedURL")

    @classmethod
    def of(cls, media: pb.Media) -> Self:
        """Converts the message."""
        return cls(
            id=strawberry.ID(str(media.id)),
            uuid=media.uuid,
            model_type=media.model_type,
            model_id=strawberry.ID(str(media.model_id)),
            collection_name=media.collection_name,
            name=media.name,
            file_name=media.file_name,
            mime_type=media.mime_type,
            size=Int64(media.size),
            order_column=media.order_column,
            created_at=Int64(media.created_at),
            updated_at=Int64(media.updated_at),
            presigned_url=media.presigned_url,
        )


@strawberry.type
class MediaPage:
    """A page of a model's files; `total` counts the whole model."""

    media: list[Media]
    total: int
    page: int
    per_page: int


@strawberry.type(name="MediaURL")
class MediaUrl:
    """A signed URL, and when it expires (seconds since the epoch)."""

    url: str
    expires_at: Int64


@strawberry.input
class UploadFileInput:
    """A file and the model that owns it. Without `fileName`, the upload's own name is used."""

    file: UploadedFile
    model_type: str
    model_id: strawberry.ID
    collection_name: str = ""
    file_name: str | None = None


@strawberry.type
class UploadFileResult:
    """Whether the upload succeeded; `data` is the new file."""

    success: bool
    message: str
    data: Media | None = None


@strawberry.type
class DeleteMediaResult:
    """Whether the file was deleted."""

    success: bool
    message: str
