"""A real HTTP server on loopback that answers by a table, and remembers what it was asked."""

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict
    headers: dict
    body: dict | None


@dataclass
class Server:
    """`answers` maps (method, path) to JSON or bytes, to (status, JSON) or (status, JSON, headers), or to a
    function of the request that returns one of these."""

    url: str
    answers: dict
    requests: list[Request] = field(default_factory=list)

    def answer(self, request):
        self.requests.append(request)
        answer = self.answers.get((request.method, request.path), (404, {"message": "not found"}))
        if callable(answer):
            answer = answer(request)
        return answer if isinstance(answer, tuple) else (200, answer)

    def asked(self, method, path):
        return [r for r in self.requests if (r.method, r.path) == (method, path)]


@contextmanager
def serving(answers):
    class Handler(BaseHTTPRequestHandler):
        def _answer(self):
            url, length = urlsplit(self.path), int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, unquote(url.path), dict(parse_qsl(url.query)), headers, body)
            status, content, *more = server.answer(request)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            for name, value in (more[0] if more else {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

        def log_message(self, *arguments):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{http.server_address[1]}", answers)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
