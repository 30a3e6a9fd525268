"""A TCP proxy that fails as it is told to: proxy.py PORT UPSTREAM_PORT MODE_FILE.

The file is read for every connection, and says what becomes of it:
  pass          nothing
  busy N        the first N connections get 503 SlowDown, all others pass
  reset N       is reset when N bytes have come from the client
  cut N         is reset when N bytes have come from the server
  sometimes N   every second connection is as with `reset N`
  stall N       after N bytes from the client nothing moves any more
"""
import asyncio
import socket
import struct
import sys

seen = {}


def reset(writer):
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def pump(reader, writer, limit, when_over):
    moved = 0
    try:
        while data := await reader.read(65536):
            moved += len(data)
            if limit is not None and moved > limit:
                await when_over()
                return
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except (ConnectionError, OSError):
        pass


async def serve(reader, writer, upstream_port, mode_file):
    mode, _, argument = open(mode_file).read().strip().partition(" ")
    n = int(argument or 0)
    key = (mode, n)
    seen[key] = seen.get(key, 0) + 1
    if mode == "busy" and seen[key] <= n:
        await reader.readuntil(b"\r\n\r\n")
        body = b"<Error><Code>SlowDown</Code></Error>"
        writer.write(b"HTTP/1.1 503 Slow Down\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (
            len(body), body))
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        return
    up_reader, up_writer = await asyncio.open_connection("127.0.0.1", upstream_port)

    async def break_off():
        reset(writer)
        up_writer.transport.abort()

    async def hang():
        await asyncio.sleep(3600)

    is_hit = mode in ("reset", "stall") or mode == "sometimes" and seen[key] % 2 == 1
    await asyncio.gather(
        pump(reader, up_writer, n if is_hit else None, hang if mode == "stall" else break_off),
        pump(up_reader, writer, n if mode == "cut" else None, break_off))
    writer.close()
    up_writer.close()


async def main():
    port, upstream_port, mode_file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    server = await asyncio.start_server(
        lambda r, w: serve(r, w, upstream_port, mode_file), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


asyncio.run(main())
