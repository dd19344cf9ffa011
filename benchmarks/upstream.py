"""A keep-alive HTTP server in its own process. It prints its port.

The path begins with the time of the answer in milliseconds: `/50/v1/chat/completions`. A streamed answer has as many
events as a prompt of 50 words has tokens, spread evenly over that time.
"""

import asyncio
import json

ANSWER = json.dumps({"choices": [{"message": {"content": "A red fox."}, "finish_reason": "stop"}]}).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)

TOKENS = ["A", " red", " fox.", *[" snow"] * 61]
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def event(data: object) -> bytes:
    """Return one server-sent event."""
    return b"data: %s\n\n" % json.dumps(data).encode()


EVENTS = [event({"choices": [{"index": 0, "delta": {"content": token}, "finish_reason": None}]}) for token in TOKENS]
LAST_EVENTS = [
    event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
    event({"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": len(TOKENS)}}),
    b"data: [DONE]\n\n",
]


def chunk(raw: bytes) -> bytes:
    """Return one chunk of a chunked body. An empty chunk ends the body."""
    return b"%x\r\n%s\r\n" % (len(raw), raw)


async def stream(writer: asyncio.StreamWriter, seconds: float) -> None:
    """Write a streamed answer that takes `seconds`."""
    writer.write(STREAM_HEAD)
    for token in EVENTS:
        await asyncio.sleep(seconds / len(EVENTS))
        writer.write(chunk(token))
    writer.write(b"".join(map(chunk, [*LAST_EVENTS, b""])))


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the calls of one connection until it is closed."""
    try:
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in request.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            body = await reader.readexactly(int(length.split(b":")[1]))
            delay_ms = int(request.split(b"/", 2)[1])
            if b'"stream": true' in body:
                await stream(writer, delay_ms / 1000)
                continue
            if delay_ms:
                await asyncio.sleep(delay_ms / 1000)
            writer.write(HEAD + ANSWER)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve() -> None:
    """Serve on a free loopback port until the process ends."""
    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
