"""An HTTP server in a thread of its own, for tests that need answers of another kind."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class HttpServer(ThreadingHTTPServer):
    """Serves on a free port of loopback, as a context manager.

    Attributes:
        authority: Host and port.
        url: Where it is.
    """

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        """Listen."""
        super().__init__(("127.0.0.1", 0), handler)
        self.authority = f"127.0.0.1:{self.server_address[1]}"
        self.url = f"http://{self.authority}"

    def __enter__(self) -> Self:
        """Serve from now on."""
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        """Serve no more."""
        self.shutdown()
        self.server_close()
