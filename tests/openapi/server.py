"""A real server on loopback, and a record of all that is asked of it and answered."""

import http.client
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

ROOT = Path(__file__).parents[2]
THROTTLE = os.environ.get("THROTTLE_BIN") or str(ROOT / "target" / "debug" / "throttle")

ANSWER_SECONDS = 30.0
PROBLEM = "application/problem+json"

Query = dict[str, str] | str | None


@dataclass(frozen=True)
class Exchange:
    """A request, and its answer.

    Attributes:
        pattern: the path as the document has it; empty where the document has none.
        names: what stands in the place of the names in braces.
        body: what was sent, as JSON; None where nothing was.
    """

    method: str
    pattern: str
    names: dict[str, str]
    query: Query
    body: str | None
    status: int
    headers: dict[str, str]
    answer: bytes

    @property
    def media_type(self) -> str:
        """What the answer says it is, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0]

    @property
    def value(self) -> Any:
        """The answer as JSON."""
        return json.loads(self.answer)


@dataclass
class Server:
    """A running server.

    Attributes:
        record: where exchanges go.
    """

    port: int
    configuration: Path
    record: list[Exchange] = field(default_factory=list)

    def send(
        self,
        method: str,
        pattern: str,
        *names: object,
        query: Query = None,
        json_body: Any = None,
        body: str | None = None,
        headers: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Exchange:
        """Send a request and record it.

        Args:
            method: in capitals.
            pattern: the path; names in braces are replaced in their order.
            names: what they are replaced with, not yet encoded.
            query: parameters, or the whole query as it shall be sent.
            json_body: sent as JSON, unless it is None.
            body: sent as it is.
            headers: more headers.
            content_type: of the body, if there is one.
        """
        body = body if json_body is None else json.dumps(json_body)
        headers = dict(headers or {})
        if body is not None:
            headers["Content-Type"] = content_type
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
        connection.request(method, _path(pattern, names, query), body=body, headers=headers)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return self._note(method, pattern, names, query, body, response, answer)

    def refuse(self, status: int, method: str, pattern: str, *names: object, **rest: Any) -> None:
        """Send a request that must be refused, so that it is answered in text and as a problem."""
        headers = rest.pop("headers", {})
        for accepted in ({}, {"Accept": PROBLEM}):
            refused = self.send(method, pattern, *names, headers={**headers, **accepted}, **rest)
            assert refused.status == status, (method, pattern, names, rest, refused.answer)

    def dawdle(self, method: str, pattern: str, *names: object) -> None:
        """Announce a body and never send it, until the server has had enough of it."""
        for accepted in ("*/*", PROBLEM):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
            connection.putrequest(method, _path(pattern, names, None))
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", "10")
            connection.putheader("Accept", accepted)
            connection.endheaders()
            response = connection.getresponse()
            answer = response.read()
            connection.close()
            assert response.status == 408, answer
            self._note(method, pattern, names, None, None, response, answer)

    @contextmanager
    def listening(self, headers: dict[str, str] | None = None) -> Iterator["Events"]:
        """Listen to events while the context lasts."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
        connection.request("GET", "/events", headers=headers or {})
        response = connection.getresponse()
        self._note("GET", "/events", (), None, None, response, b"")
        yield Events(response)
        response.close()
        connection.close()

    def _note(
        self,
        method: str,
        pattern: str,
        names: tuple[object, ...],
        query: Query,
        body: str | None,
        response: http.client.HTTPResponse,
        answer: bytes,
    ) -> Exchange:
        in_braces = [part[1:-1] for part in pattern.split("/") if part.startswith("{")]
        exchange = Exchange(
            method=method,
            pattern=pattern,
            names=dict(zip(in_braces, map(str, names), strict=True)),
            query=query,
            body=body,
            status=response.status,
            headers={name.lower(): value for name, value in response.getheaders()},
            answer=answer,
        )
        self.record.append(exchange)
        return exchange


class Events:
    """Server-sent events."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response

    def until(self, kind: str) -> list[tuple[str, Any]]:
        """Wait for an event of this kind, and return all up to it: their kinds and their data."""
        events: list[tuple[str, Any]] = []
        fields: dict[str, str] = {}
        while line := self._response.readline().decode():
            name, _, text = line.rstrip("\n").partition(": ")
            fields[name] = text
            if name or "data" not in fields:
                continue
            events.append((fields["event"], json.loads(fields["data"])))
            if fields["event"] == kind:
                return events
            fields = {}
        raise EOFError(f"no event `{kind}`, only {events}")


def _path(pattern: str, names: tuple[object, ...], query: Query) -> str:
    rest = iter(names)
    parts = [
        quote(str(next(rest)), safe="") if part.startswith("{") else part
        for part in pattern.split("/")
    ]
    if isinstance(query, dict):
        query = urlencode(query)
    return "/".join(parts) + (f"?{query}" if query else "")


@contextmanager
def running(directory: Path, configuration: str) -> Iterator[Server]:
    """Run a server with this configuration while the context lasts."""
    file = directory / "throttle.toml"
    file.write_text(configuration, encoding="utf-8")
    # What the variable says in the shell of whoever runs the tests must not matter.
    environment = {name: text for name, text in os.environ.items() if name != "THROTTLE_LOG"}
    process = subprocess.Popen(
        [THROTTLE, "--port", "0", "--configuration", str(file)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        listening = next(line for line in lines if " listening on http://" in line)
        # What it says from here on is little, and fits into the pipe.
        yield Server(int(listening.rpartition(":")[2]), file)
    finally:
        process.kill()
        process.communicate()
