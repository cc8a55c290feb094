"""A server of the OpenAI embeddings form on this machine, which can fail in the usual ways."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.toy_encoders import trigrams

KEY = "sk-secret-of-the-test"


class EmbeddingServer(ThreadingHTTPServer):
    """Answers with trigrams of the texts, last text first.

    `failures` are given before answers: a status, with headers and a body, or ``"cut"``, after
    which the connection ends. `change` is made to the rows of every answer.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.failures: list[Any] = []
        self.asked: list[list[str]] = []
        self.headers: list[dict[str, str]] = []
        self.change: Any = lambda rows: rows
        self.fail_after: int | None = None  # this many answers, all that follow are failures

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: EmbeddingServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        server.headers.append(dict(self.headers))
        if server.fail_after is not None and len(server.asked) >= server.fail_after:
            return self._send(401, {"error": {"message": f"no more for {KEY}"}})
        if server.failures:
            failure = server.failures.pop(0)
            if failure == "cut":
                return self.connection.close()
            status, headers, content = failure
            return self._send(status, content, headers)
        assert (self.path, body["model"]) == ("/v1/embeddings", "toy")
        server.asked.append(body["input"])
        rows = [
            {"object": "embedding", "index": index, "embedding": vector.tolist()}
            for index, vector in enumerate(trigrams(body["input"]))
        ]
        return self._send(200, {"object": "list", "data": server.change(rows[::-1])})

    def _send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
