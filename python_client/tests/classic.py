"""A stand-in for the published server 0.5.13: an HTTP proxy that makes a server of ours forget.

Towards the client it behaves as that version does: it overlooks fields and parameters that it does
not know, answers no headers of ours and no problem documents, and draws ids itself, beyond those
that our server takes from a caller. After `upgrade` it hides nothing any more, as if that version
had been replaced by one of ours.
"""

import http.client
import json
import secrets
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from serving import HttpServer

Reply = tuple[int, dict[str, str], bytes]

NOT_FOUND: Reply = (404, {"Content-Type": "text/html; charset=utf-8"}, b"<html>404</html>")
MISSING: Reply = (422, {"Content-Type": "text/plain; charset=utf-8"}, b"missing field `expires_in`")
SHRINK: Reply = (
    501,
    {},
    b"Shrinking the count of an existing lock is currently not implemented.",
)
OF_ONE_HOP = {"connection", "content-length", "date", "host", "server", "transfer-encoding"}
UPSTREAM_SECONDS = 60


class Classic(HttpServer):
    """A server of the old kind on a free port of loopback, from `__enter__` to `__exit__`.

    Attributes:
        url: What to use instead of the server's own.
        requests: Method, path with query, and body of each request, in the order of arrival.
        takes_ids: Whether callers may choose the id of a peer, which that version does not permit.
        headers: What to say in all answers, which that version does not.
    """

    request_queue_size = 128

    def __init__(self, upstream_url: str) -> None:
        """Prepare it in front of a server, which may come and go."""
        super().__init__(_Handler)
        self.upstream = urlsplit(upstream_url).netloc
        self.requests: list[tuple[str, str, bytes]] = []
        self.is_classic = True
        self.takes_ids = False
        self.headers: dict[str, str] = {}

    def upgrade(self) -> None:
        """Be a server of ours from the next request on; to be complete, restart the server, too."""
        self.is_classic = False

    def downgrade(self) -> None:
        """Be a server of the old kind again."""
        self.is_classic = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Write nothing about those who hang up."""


class _Handler(BaseHTTPRequestHandler):
    server: Classic  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"
    # An answer goes out at once and as a whole, or the other side delays its acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        """Serve any method alike; cut the connection where no server is."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.command, self.path, body))
        try:
            reply = self._classic(body) if self.server.is_classic else self._ours(body)
        except (OSError, http.client.HTTPException):
            self.close_connection = True
            return
        status, headers, text = reply
        headers = headers | self.server.headers
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(text))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing."""

    def _classic(self, body: bytes) -> Reply:
        """Answer as version 0.5.13 does."""
        parts = urlsplit(self.path)
        segments = parts.path.split("/")[1:]
        if (self.command, segments) == ("POST", ["new_peer"]):
            return self._new_peer(body)
        if (self.command, segments) == ("POST", ["restore"]):
            return self._with_fields(body, "expires_in", "peer_id", "acquired")
        if segments[0] not in ("peers", "remainder"):
            return NOT_FOUND
        known = self.command, *("" if part == "" else "*" for part in segments[1:])
        if known == ("PUT", "*"):
            return self._with_fields(body, "expires_in")
        if known == ("PUT", "*", "*"):
            return self._acquire(segments[1], unquote(segments[2]), parts.query, body)
        if known == ("GET", ""):
            status, headers, text = self._ask("GET", parts.path)
            return status, headers, json.dumps([{"id": p["id"]} for p in json.loads(text)]).encode()
        if known in (("GET",), ("DELETE", "*"), ("DELETE", "*", "*"), ("GET", "*", "*")):
            return self._ask(self.command, self.path)
        return 405, {}, b""

    def _new_peer(self, body: bytes) -> Reply:
        """Make a peer whose id nobody but the server chose."""
        wanted = json.loads(body)
        if "expires_in" not in wanted:
            return MISSING
        peer_id = secrets.randbelow(2**63) + 2**63
        if self.server.takes_ids:
            peer_id = wanted["peer_id"]
        made = {"expires_in": wanted["expires_in"], "peer_id": peer_id, "acquired": {}}
        status, headers, text = self._ask("POST", "/restore", json.dumps(made).encode())
        return status, headers, str(peer_id).encode() if status == 200 else text

    def _with_fields(self, body: bytes, *fields: str) -> Reply:
        """Pass on what that version reads of a body."""
        given = json.loads(body)
        if "expires_in" not in given:
            return MISSING
        kept = {name: given[name] for name in fields if name in given}
        return self._ask(self.command, self.path.partition("?")[0], json.dumps(kept).encode())

    def _acquire(self, peer_id: str, semaphore: str, query: str, body: bytes) -> Reply:
        """Acquire one lock, with what that version reads of a query; it makes no lock smaller."""
        kept = {key: value for key, value in parse_qsl(query) if key in ("expires_in", "block_for")}
        status, _, text = self._ask("GET", f"/peers/{peer_id}")
        if status == 200 and json.loads(text)["acquired"].get(semaphore, 0) > json.loads(body):
            return SHRINK
        path = self.path.partition("?")[0]
        return self._ask("PUT", f"{path}?{urlencode(kept)}" if kept else path, body)

    def _ask(self, method: str, target: str, body: bytes | None = None) -> Reply:
        """Ask the server of ours, and hide what the old one would not say."""
        status, headers, text = self._pass_on(
            method, target, body, {"Content-Type": "application/json"}
        )
        if status not in (200, 202):
            return status, {}, text
        return status, {"Content-Type": headers.get("content-type", "")}, text

    def _ours(self, body: bytes) -> Reply:
        """Pass everything on as it is."""
        headers = {k: v for k, v in self.headers.items() if k.lower() not in OF_ONE_HOP}
        return self._pass_on(self.command, self.path, body or None, headers)

    def _pass_on(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Reply:
        connection = http.client.HTTPConnection(self.server.upstream, timeout=UPSTREAM_SECONDS)
        try:
            connection.request(method, target, body, dict(headers))
            response = connection.getresponse()
            kept = {k.lower(): v for k, v in response.getheaders() if k.lower() not in OF_ONE_HOP}
            return response.status, kept, response.read()
        finally:
            connection.close()
