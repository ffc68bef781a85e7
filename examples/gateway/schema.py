"""The GraphQL schema: its queries and mutations, and the calls to the services that answer them."""

import logging
from dataclasses import dataclass

import strawberry
from graphql import GraphQLError
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext, Info

from examples.gateway.answers import ServiceError
from examples.gateway.media import MediaClient
from examples.gateway.product_types import Product, ProductPage, UpdateProductInput, UpdateProductResult
from examples.gateway.products import ProductClient
from examples.gateway.types import (
    SCALARS,
    DeleteMediaResult,
    Int64,
    Media,
    MediaPage,
    MediaUrl,
    UploadFileInput,
    UploadFileResult,
    int64,
)
from examples.gateway.users import Person
from proxy.pb.media_pb2 import UploadFileRequest

_log = logging.getLogger(__name__)
_USER = "user"


@dataclass(frozen=True, slots=True)
class Context:
    """The clients that resolvers use."""

    media: MediaClient
    products: ProductClient
    avatar_collection: str


_Info = Info[Context, None]


@strawberry.type
class User:
    """A user. The avatar comes from the media service, so it is null while that is unavailable."""

    id: strawberry.ID
    name: str
    email: str

    @strawberry.field
    async def avatar(self, info: _Info) -> Media | None:
        """The user's newest file in the avatars' collection."""
        context = info.context
        try:
            found = await context.media.files(_USER, int(self.id), context.avatar_collection, page=1, per_page=1)
        except ServiceError as error:
            _log.warning("no avatar for user %s: %s", self.id, error)
            return None
        return Media.of(found.media[0]) if found.media else None


async def _media_url(
    info: _Info,
    id: strawberry.ID,  # noqa: A002 -- the argument's name in GraphQL
    expiry_seconds: int = 0,
) -> MediaUrl | None:
    """A signed URL of a file; 0 seconds: the service's default life."""
    try:
        signed = await info.context.media.url(int64(id, "id"), expiry_seconds)
    except ServiceError as error:
        raise GraphQLError(str(error)) from error
    return MediaUrl(url=signed.url, expires_at=Int64(signed.expires_at))


@strawberry.type
class Query:
    """Reads."""

    @strawberry.field
    async def user(self, id: strawberry.ID) -> User | None:  # noqa: A002 -- the argument's name in GraphQL
        """Every id has a user, because users are made up."""
        person = Person.with_id(int64(id, "id"))
        return User(id=strawberry.ID(str(person.id)), name=person.name, email=person.email)

    @strawberry.field
    async def media_by_model(
        self,
        info: _Info,
        model_type: str,
        model_id: strawberry.ID,
        collection_name: str = "",
        page: int = 1,
        per_page: int = 20,
    ) -> MediaPage | None:
        """A page of a model's files; no collection means all."""
        try:
            found = await info.context.media.files(
                model_type, int64(model_id, "modelId"), collection_name, page, per_page
            )
        except ServiceError as error:
            raise GraphQLError(str(error)) from error
        return MediaPage(
            media=[Media.of(media) for media in found.media],
            total=found.total,
            page=found.page,
            per_page=found.per_page,
        )

    @strawberry.field
    async def product(self, info: _Info, id: strawberry.ID) -> Product:  # noqa: A002 -- the argument's name in GraphQL
        """One product by its id."""
        try:
            return Product.of(await info.context.products.by_id(int64(id, "id")))
        except ServiceError as error:
            raise GraphQLError(str(error)) from error

    @strawberry.field
    async def product_by_slug(self, info: _Info, slug: str) -> Product:
        """One product by its slug."""
        try:
            return Product.of(await info.context.products.by_slug(slug))
        except ServiceError as error:
            raise GraphQLError(str(error)) from error

    @strawberry.field
    async def products(self, info: _Info, page: int = 1, per_page: int = 20) -> ProductPage:
        """A page of all products."""
        try:
            found = await info.context.products.page(page, per_page)
        except ServiceError as error:
            raise GraphQLError(str(error)) from error
        return ProductPage(products=[Product.of(each) for each in found.products], total=found.total)

    media_url: MediaUrl | None = strawberry.field(name="mediaURL", resolver=_media_url)


@strawberry.type
class Mutation:
    """Writes. Failures are results with `success: false`."""

    @strawberry.mutation
    async def upload_file(self, info: _Info, input: UploadFileInput) -> UploadFileResult:  # noqa: A002
        """Uploads a file. A user has one avatar, so existing ones are deleted first."""
        model_id = int64(input.model_id, "modelId")
        upload = UploadFileRequest(
            content=input.file.content,
            file_name=input.file_name or input.file.file_name,
            mime_type=input.file.mime_type,
            size=len(input.file.content),
            model_type=input.model_type,
            model_id=model_id,
            collection_name=input.collection_name,
        )
        try:
            if input.model_type.casefold() == _USER and input.collection_name == info.context.avatar_collection:
                await _delete_avatars(info.context, model_id)
            response = await info.context.media.upload(upload)
        except ServiceError as error:
            return UploadFileResult(success=False, message=str(error))
        return UploadFileResult(success=True, message=response.message, data=Media.of(response.data))

    @strawberry.mutation
    async def delete_media(self, info: _Info, id: strawberry.ID) -> DeleteMediaResult:  # noqa: A002
        """Deletes a file."""
        try:
            return DeleteMediaResult(success=True, message=await info.context.media.delete(int64(id, "id")))
        except ServiceError as error:
            return DeleteMediaResult(success=False, message=str(error))

    @strawberry.mutation
    async def update_product(self, info: _Info, input: UpdateProductInput) -> UpdateProductResult:  # noqa: A002
        """Changes the fields of a product that the input names."""
        try:
            changed = await info.context.products.update(input.request())
        except ServiceError as error:
            return UpdateProductResult(success=False, message=str(error))
        return UpdateProductResult(success=True, message="updated", data=Product.of(changed))


async def _delete_avatars(context: Context, user_id: int) -> None:
    """Deletes a user's avatars. A file that this read misses is never deleted, so no cache may answer it outdated."""
    found = await context.media.files(_USER, user_id, context.avatar_collection, page=1, per_page=100)
    for media in found.media:
        try:
            await context.media.delete(media.id)
        except ServiceError as error:
            _log.warning("avatar %d of user %d stays behind: %s", media.id, user_id, error)


class _Schema(strawberry.Schema):
    def process_errors(
        self,
        errors: list[GraphQLError],
        execution_context: ExecutionContext | None = None,
    ) -> None:
        """Logs one line for errors of callers and services; only the gateway's own errors have a traceback."""
        for error in errors:
            foreseen = error.original_error is None or isinstance(error.original_error, GraphQLError)
            _log.warning("%s", error.message, exc_info=None if foreseen else error.original_error)


SCHEMA = _Schema(query=Query, mutation=Mutation, config=StrawberryConfig(scalar_map=SCALARS))
