"""An HTTP server that fails as it is told to: http_faults.py PORT.

The path says how; each counts its own requests, by its query:
  /status/CODE/N/WAIT  answers CODE (with Retry-After: WAIT, unless it is -) N times, then 200
  /reset/N             resets the connection N times, then 200
  /cut/BYTES           sends a body of 300000 bytes, but not more than BYTES of it at a time; has ranges
  /changed/BYTES       the same, of an object that is another one each time
  /norange/BYTES       the same, of a server that does not know ranges
  /short               claims 1000 bytes, and closes in an orderly way after 10
  /silent              accepts, and says nothing
  /count/PATH          how many requests that path has had
"""
import http.server
import socket
import struct
import sys
import time

BODY = bytes(i * i % 251 for i in range(300000))
counts = {}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"ok", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def cut(self, limit, n, kind):
        start = 0
        wanted = self.headers.get("Range")
        if wanted and kind != "norange":
            start = int(wanted.split("=")[1].split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("ETag", '"%s"' % (n if kind == "changed" else "same"))
        self.send_header("Content-Length", str(len(BODY) - start))
        if start:
            self.send_header("Content-Range", "bytes %d-%d/%d" % (start, len(BODY) - 1, len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[start:start + limit])
        self.wfile.flush()
        if len(BODY) - start > limit:
            time.sleep(0.02)  # or the reset would overtake what was written
            self.reset()

    def do_GET(self):
        if self.headers.get("Content-Length"):
            self.rfile.read(int(self.headers["Content-Length"]))
        words = self.path.split("?")[0].strip("/").split("/")
        if words[0] == "count":
            self.answer(200, str(counts.get(self.path[6:], 0)).encode())
            return
        n = counts[self.path] = counts.get(self.path, 0) + 1
        if words[0] == "status" and n <= int(words[2]):
            self.answer(int(words[1]), b"later", [] if words[3] == "-" else [("Retry-After", words[3])])
        elif words[0] == "reset" and n <= int(words[1]):
            self.reset()
        elif words[0] in ("cut", "changed", "norange"):
            self.cut(int(words[1]), n, words[0])
        elif words[0] == "short":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"0123456789")
            self.close_connection = True
        elif words[0] == "silent":
            time.sleep(60)
        else:
            self.answer(200)

    do_POST = do_PUT = do_DELETE = do_GET


http.server.ThreadingHTTPServer.daemon_threads = True
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
