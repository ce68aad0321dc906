"""Follows `/events` of a server that comes and goes, and reads its counters.

It talks to the server itself, whatever stands between that and the clients. One thread reads; each
connection begins a stretch of the history.
"""

import http.client
import json
import re
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

from .history import COUNTERS, Event, Stretch

ANSWER_SECONDS = 10.0
RETRY_SECONDS = 0.005

LINE = re.compile(r'^throttle_(\w+?)(?:_total)?\{semaphore="(.*)"\} (\d+)$', re.MULTILINE)
KINDS = {name: kind for kind, name in COUNTERS.items()} | {"pending": "pending"}


def get(url: str, path: str) -> str:
    """Ask a server for something.

    Raises:
        OSError: There is no answer, or it breaks off.
        HTTPException: That is no answer.
    """
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def counters(url: str) -> dict[tuple[str, str], int]:
    """Read how often something ever happened to the locks of each semaphore, and what waits now."""
    text = get(url, "/metrics")
    return {
        (KINDS[name], semaphore): int(value)
        for name, semaphore, value in LINE.findall(text)
        if name in KINDS
    }


def left_over(url: str) -> list[str]:
    """Say what is acquired, or waited for, or which peers there are."""
    listed: list[dict[str, Any]] = json.loads(get(url, "/semaphores"))
    texts = [
        f"`{one['name']}`: {one['acquired']} acquired, {one['pending']} pending"
        for one in listed
        if one["acquired"] or one["pending"]
    ]
    peers: list[dict[str, Any]] = json.loads(get(url, "/peers/"))
    return texts + [f"peer {peer['id']} is still there: {peer}" for peer in peers]


class Observer:
    """Listens to a server from `start` to `stop`.

    Attributes:
        stretches: What it has heard so far, one for each connection.
        grants: How many events of a grant it has heard.
    """

    def __init__(self, url: str) -> None:
        """Prepare it."""
        self.stretches: list[Stretch] = []
        self.grants = 0
        self._netloc = urlsplit(url).netloc
        self._url = url
        self._socket: socket.socket | None = None
        self._is_stopping = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin, and return once it listens. No client may have come before.

        Raises:
            AssertionError: The server does not let it listen.
        """
        self._thread.start()
        self.wait_for(lambda: len(self.stretches), ANSWER_SECONDS, "listens")

    def stop(self) -> None:
        """Listen no more."""
        with self._changed:
            self._is_stopping.set()
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def wait_for(self, condition: Any, seconds: float, what: str) -> None:
        """Return as soon as something is so, which only changes with what is heard.

        Raises:
            AssertionError: It is not so within that time.
        """
        with self._changed:
            assert self._changed.wait_for(condition, seconds), f"nobody {what} within {seconds} s"

    def _run(self) -> None:
        while not self._is_stopping.is_set():
            try:
                self._listen()
            except (OSError, http.client.HTTPException):
                self._is_stopping.wait(RETRY_SECONDS)

    def _listen(self) -> None:
        """Follow one connection to its end."""
        connection = http.client.HTTPConnection(self._netloc, timeout=ANSWER_SECONDS)
        try:
            connection.request("GET", "/events")
            answer = connection.getresponse()
            with self._changed:
                if connection.sock is None or self._is_stopping.is_set():
                    return
                self._socket = connection.sock
                # From here on it may be silent for as long as it likes; `stop` shuts it.
                self._socket.settimeout(None)
            stretch: Stretch | None = None
            fields: dict[str, str] = {}
            for line in answer:
                key, _, value = line.decode().rstrip("\n").partition(": ")
                if key:
                    fields[key] = value
                else:
                    stretch = self._take(fields, stretch)
                    fields = {}
        finally:
            self._socket = None
            connection.close()

    def _take(self, fields: dict[str, str], stretch: Stretch | None) -> Stretch:
        """Take one message; the first one says which start of the server it is."""
        instance = fields["id"].partition("-")[0]
        with self._changed:
            if stretch is None:
                is_again = any(one.instance == instance for one in self.stretches)
                stretch = Stretch(instance, not self.stretches, counters(self._url))
                stretch.has_missed = is_again
                self.stretches.append(stretch)
            kind = fields.get("event")
            if kind == "missed":
                stretch.has_missed = True
            elif kind is not None:
                data: dict[str, Any] = json.loads(fields["data"])
                stretch.events.append(
                    Event(
                        kind=kind,
                        peer=data["peer"],
                        semaphore=data["semaphore"],
                        count=data["count"],
                        token=data["token"],
                        after_ms=int(data["after"].removesuffix("ms")),
                        at=data["at"],
                    )
                )
                self.grants += kind == "granted"
            self._changed.notify_all()
        return stretch
