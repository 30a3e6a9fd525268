"""A PostgreSQL server that answers one query, in TLS records cut as no real one would be made to.

tls_server.py CERT KEY PORT_FILE UNPARSED: the first record ends UNPARSED bytes into a row, so that
much stays in the client's buffer; after a pause, exactly two records of 16 KiB complete the answer,
and then nothing more comes. A client that does not drain its TLS library waits for ever.
"""
import os
import socket
import ssl
import struct
import sys
import time

RECORD = 16384


def message(kind, body=b""):
    return kind + struct.pack("!I", len(body) + 4) + body


def row(size):
    return message(b"D", struct.pack("!HI", 1, size) + b"x" * size)


class Connection:
    def __init__(self, sock, context):
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        length = struct.unpack("!I", sock.recv(4))[0]
        sock.recv(length - 4)  # SSLRequest
        sock.send(b"S")
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.wait_for(self.tls.do_handshake)
        self.send()

    def send(self):
        data = self.outgoing.read()
        if data:
            self.sock.sendall(data)

    def wait_for(self, step):
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self.send()
                data = self.sock.recv(65536)
                if not data:
                    raise EOFError
                self.incoming.write(data)

    def read(self, size):
        data = b""
        while len(data) < size:
            data += self.wait_for(lambda: self.tls.read(size - len(data)))
        return data

    def read_body(self):
        return self.read(struct.unpack("!I", self.read(4))[0] - 4)

    def answer(self, unparsed):
        self.read_body()  # the startup packet
        self.tls.write(message(b"R", struct.pack("!I", 0)) +
                       message(b"S", b"server_version\x0013.0\0") +
                       message(b"S", b"client_encoding\0UTF8\0") +
                       message(b"K", struct.pack("!II", 1, 2)) + message(b"Z", b"I"))
        self.send()
        self.read(1)
        self.read_body()  # the query
        description = message(b"T", struct.pack("!H", 1) + b"c\0" +
                              struct.pack("!IHIhih", 0, 0, 25, -1, -1, 0))
        first = row(9000)
        tail = message(b"C", b"SELECT 9\0") + message(b"Z", b"I")
        rest = first[unparsed:]
        left = 2 * RECORD - len(rest) - len(tail)
        while left > 0:
            size = min(left, 9011)
            if 0 < left - size < 40:
                size -= 100
            rest += row(size - 11)
            left -= size
        rest += tail
        self.tls.write(description + first[:unparsed])
        self.send()
        time.sleep(0.3)
        self.tls.write(rest[:RECORD])
        self.tls.write(rest[RECORD:])
        self.send()
        time.sleep(60)


def main():
    cert, key, port_file, unparsed = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    with open(port_file + ".new", "w") as file:
        file.write(str(listener.getsockname()[1]))
    os.rename(port_file + ".new", port_file)
    Connection(listener.accept()[0], context).answer(int(unparsed))


main()
