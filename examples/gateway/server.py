"""`running`: starts and stops the gateway with its channels and its HTTP listener."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from opentelemetry.trace import Tracer
from strawberry.http import process_result

from examples.environment import host_port
from examples.gateway.media import MediaClient
from examples.gateway.products import ProductClient
from examples.gateway.requests import BadRequestError, read
from examples.gateway.schema import SCHEMA, Context
from examples.gateway.settings import GatewaySettings
from examples.traces import client_spans, current

_LARGEST_BODY = (50 << 20) + (1 << 20)
"""Bytes: the media service's largest file, plus room for the rest of the form."""


@asynccontextmanager
async def running(settings: GatewaySettings, tracer: Tracer | None = None) -> AsyncIterator[str]:
    """Serves while the context lasts, and yields the address; OSError if it cannot be bound."""
    async with (
        MediaClient(settings.media_service_addr, client_spans(tracer)) as media,
        ProductClient(settings.product_service_addr) as products,
    ):
        runner = web.AppRunner(_app(Context(media, products, settings.avatar_collection), tracer), access_log=None)
        await runner.setup()
        try:
            host, port = host_port(settings.gateway_addr)
            await web.TCPSite(runner, host, port).start()
            bound = runner.addresses[0][1]
            yield f"{settings.gateway_addr.rpartition(':')[0]}:{bound}"
        finally:
            await runner.cleanup()


def _app(context: Context, tracer: Tracer | None) -> web.Application:
    async def query(request: web.Request) -> web.Response:
        body = await request.read()
        try:
            asked = read(request.headers.get("Content-Type", ""), body)
        except BadRequestError as error:
            return web.json_response({"errors": [{"message": str(error)}]}, status=400)
        with current(tracer, "POST /query"):
            result = await SCHEMA.execute(
                asked.query, asked.variables, context_value=context, operation_name=asked.operation_name
            )
        return web.json_response(process_result(result))

    app = web.Application(client_max_size=_LARGEST_BODY)
    app.router.add_post("/query", query)
    return app
