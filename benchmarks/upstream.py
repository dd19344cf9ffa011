"""A keep-alive HTTP server in a process of its own; prints its port.

The path begins with the milliseconds to wait before the answer: `/50/v1/chat/completions`.
"""

import asyncio
import json

ANSWER = json.dumps({"choices": [{"message": {"content": "A red fox."}, "finish_reason": "stop"}]}).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the calls of one connection until it is closed."""
    try:
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in request.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            if delay_ms := int(request.split(b"/", 2)[1]):
                await asyncio.sleep(delay_ms / 1000)
            writer.write(HEAD + ANSWER)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve() -> None:
    """Serve on a free port of loopback until the process is ended."""
    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
