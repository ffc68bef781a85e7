"""HTTP/1.1 as bytes, for requests that no client library would send."""

import asyncio


async def raw(port: int, request: bytes) -> bytes:
    """Returns the complete answer to these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer
