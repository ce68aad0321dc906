"""Real processes on loopback, plain HTTP, and waits that end."""

import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

START_SECONDS = 10.0
STOP_SECONDS = 10.0
ANSWER_SECONDS = 10.0

# Without the proxy that the environment may name: all of it is loopback.
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))

T = TypeVar("T")


def call(
    method: str, url: str, body: Any = None, *, timeout: float = ANSWER_SECONDS
) -> tuple[int, str]:
    """Send a request, its body as JSON if there is one, and return the status and the answer."""
    data = None if body is None else json.dumps(body).encode()
    headers = {} if body is None else {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with _DIRECTLY.open(request, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


def until(condition: Callable[[], T], seconds: float) -> T:
    """Ask again and again until the answer is true, or the time is over; return the last one."""
    end = time.monotonic() + seconds
    while not (answer := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return answer


@contextmanager
def running(
    command: list[str], environment: Mapping[str, str], listening: str, log: Path
) -> Iterator[str]:
    """Run a process while the context lasts.

    Args:
        command: the program and its arguments.
        environment: all of its environment.
        listening: a regular expression for what it logs once it listens; its group is where.
        log: the file for its standard error.

    Yields:
        where it listens: host and port.
    """
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:

        def found() -> re.Match[str] | None:
            assert process.poll() is None, f"{command[0]} ended: {log.read_text()}"
            return re.search(listening, log.read_text())

        match = until(found, START_SECONDS)
        assert match, f"{command[0]} does not listen: {log.read_text()}"
        yield match[1]
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Prometheus:
    """The HTTP API of a Prometheus that runs."""

    def __init__(self, address: str) -> None:
        """Remember where it listens, host and port."""
        self._url = f"http://{address}"

    def is_ready(self) -> bool:
        """Tell whether it answers queries by now."""
        return call("GET", f"{self._url}/-/ready")[0] == 200

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer below `/api/v1/`; fail if it is an error."""
        query = urllib.parse.urlencode(parameters)
        status, text = call("GET", f"{self._url}/api/v1/{path}?{query}")
        assert status == 200, f"{path} {parameters}: {text}"
        answer = json.loads(text)
        assert answer["status"] == "success", text
        assert "warnings" not in answer, text
        return answer["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Evaluate an expression now, and return its series."""
        result = self.get("query", query=expression)["result"]
        assert isinstance(result, list)
        return result

    def value(self, expression: str) -> float | None:
        """Evaluate an expression of which one series at most is expected; return its value."""
        result = self.query(expression)
        assert len(result) <= 1, f"{expression}: {result}"
        return float(result[0]["value"][1]) if result else None
