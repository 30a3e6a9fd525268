"""Takes what notifiers send, by HTTP and by SMTP: sink.py FOLDER HTTP_PORT SMTP_PORT [CERT KEY].

Each request is a file FOLDER/http-N.json ({"method", "path", "headers", "body"}), each mail
FOLDER/mail-N.json ({"from", "to", "user", "tls", "text"}), N counting from 1. FOLDER/status, if it is
there, has the status that requests are answered with. With a certificate the SMTP server wants
STARTTLS and a login: user "moonkeep", password "let me in". It does not know gone@ anything.
"""
import asyncio
import json
import os
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from aiosmtpd.smtp import SMTP, AuthResult

folder, http_port, smtp_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
counts = {"http": 0, "mail": 0}


def keep(kind, what):
    counts[kind] += 1
    path = os.path.join(folder, "%s-%d.json" % (kind, counts[kind]))
    with open(path + ".new", "w") as file:
        json.dump(what, file)
    os.rename(path + ".new", path)


class Requests(BaseHTTPRequestHandler):
    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        path = os.path.join(folder, "status")
        status = int(open(path).read()) if os.path.exists(path) else 200
        if status == 200:
            keep("http", {"method": self.command, "path": self.path,
                          "headers": {k.lower(): v for k, v in self.headers.items()}, "body": body})
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *_):
        pass


class Mails:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("gone@"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server, session, envelope):
        keep("mail", {"from": envelope.mail_from, "to": envelope.rcpt_tos, "user": session.auth_data and
                      session.auth_data.login.decode(), "tls": session.ssl is not None,
                      "text": envelope.content.decode()})
        return "250 kept"


def authenticate(server, session, envelope, mechanism, data):
    good = data.login == b"moonkeep" and data.password == b"let me in"
    return AuthResult(success=good, handled=False, auth_data=data)


def make_smtp():
    if len(sys.argv) < 5:
        return SMTP(Mails())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[4], sys.argv[5])
    return SMTP(Mails(), tls_context=context, require_starttls=True, auth_required=True,
                authenticator=authenticate)


async def main():
    await asyncio.get_running_loop().create_server(make_smtp, "127.0.0.1", smtp_port)
    server = ThreadingHTTPServer(("127.0.0.1", http_port), Requests)
    Thread(target=server.serve_forever, daemon=True).start()
    await asyncio.Event().wait()

asyncio.run(main())
