"""HTTP/1.1 as bytes: what no client library would send to a listener of ours."""

import asyncio


async def raw(port: int, request: bytes) -> bytes:
    """The whole answer to what a stranger sends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer
