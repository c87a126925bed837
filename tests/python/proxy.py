"""A forward proxy: proxy.py PORT LOG. It takes what a client asks in absolute form to where it belongs, makes tunnels
(CONNECT), and appends the request line of each to LOG."""

import asyncio
import sys
from urllib.parse import urlsplit

LOG = sys.argv[2]


async def pass_on(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def serve(reader, writer):
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        line, rest = head.split(b"\r\n", 1)
        method, target, version = line.decode().split(" ")
        with open(LOG, "a") as log:
            log.write(line.decode() + "\n")
        url = urlsplit("//" + target if method == "CONNECT" else target)
        from_server, to_server = await asyncio.open_connection(url.hostname, url.port or 80)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            to_server.write(f"{method} {url.path} {version}\r\n".encode() + rest)
        await asyncio.gather(pass_on(reader, to_server), pass_on(from_server, writer))
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    async with server:
        await server.serve_forever()


asyncio.run(main())
