"""An HTTP server that notes what it is asked, and answers as it is told."""

from http.server import BaseHTTPRequestHandler
from typing import Any

from serving import HttpServer


class Recorder(HttpServer):
    """A server that notes each request, and answers as it is told: the last answer over and over.

    Attributes:
        requests: Method, target, headers (in lower case) and body of each request.
        answers: Status, headers and body of each answer to come; those before it are used once.
    """

    def __init__(self) -> None:
        """Listen on a free port."""
        super().__init__(_Recording)
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str], str]] = [(200, {}, "1")]

    @property
    def targets(self) -> list[str]:
        """The targets of all requests so far."""
        return [target for _, target, _, _ in self.requests]


class _Recording(BaseHTTPRequestHandler):
    server: Recorder  # pyright: ignore[reportIncompatibleVariableOverride]

    def handle_one_request(self) -> None:
        """Serve any method alike."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.command, self.path, headers, body))
        answers = self.server.answers
        status, extra, text = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        for name, value in {**extra, "Content-Length": str(len(text.encode()))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing."""
