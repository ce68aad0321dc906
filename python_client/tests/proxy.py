"""A TCP proxy in front of a server that misbehaves on demand, for tests of faults.

It lives in one thread with an event loop of its own, in which all that it does happens one after
another. A control has taken effect when its method returns.
"""

import asyncio
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Self, cast
from urllib.parse import urlsplit

CONTROL_SECONDS = 10
MAX_CONNECTIONS = 1000
MAX_HELD = 1000
# What makes a socket reset its connection when it is closed: linger, for no time at all.
RESET = struct.pack("ii", 1, 0)

_Mode = Enum("_Mode", ["PASSES", "REFUSES", "HANGS"])


class Proxy:
    """A proxy on a free port of loopback, from `__enter__` to `__exit__`.

    Attributes:
        url: what to use instead of the server's own.
        connections: how many it has accepted so far, among them those that it refused.
        requests: method and path (without the query) of each request that was passed to the server.
    """

    def __init__(self, upstream_url: str) -> None:
        """Prepare a proxy for the server at this URL, which may come and go."""
        parts = urlsplit(upstream_url)
        self.upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self.url = ""
        self.connections = 0
        self.requests: list[tuple[str, str]] = []
        # Once it listens, these belong to the thread of the loop.
        self.mode = _Mode.PASSES
        self.answers_to_drop = 0
        self.delay_seconds = 0.0
        self.ends: set[_End] = set()

    def __enter__(self) -> Self:
        """Listen."""
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.result(CONTROL_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cut all connections and listen no more."""
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(CONTROL_SECONDS)

    def refuse(self) -> None:
        """Reset all connections, and new ones as soon as they are made, until `pass_on`."""
        self._control(self._enter, _Mode.REFUSES)

    def hang(self) -> None:
        """Swallow all that is sent in either direction, on new connections too, until `pass_on`."""
        self._control(self._enter, _Mode.HANGS)

    def pass_on(self) -> None:
        """End `refuse` and `hang`; connections that hung are reset, what was swallowed is lost."""
        self._control(self._enter, _Mode.PASSES)

    def cut(self) -> None:
        """Reset the connections that exist right now."""
        self._control(self._cut_all)

    def half_close_requests(self) -> None:
        """End what the server is sent on the connections that exist; its answers still pass."""
        self._control(self._half_close, _ServerEnd)

    def half_close_answers(self) -> None:
        """End what clients are sent on the connections that exist; their requests still pass."""
        self._control(self._half_close, _ClientEnd)

    def drop_answers(self, n: int = 1) -> None:
        """Pass the next `n` requests on, but reset their connections instead of answering."""
        self._control(setattr, self, "answers_to_drop", n)

    def delay(self, seconds: float) -> None:
        """Hold back whatever the server sends for so long; what is held right now goes at once."""
        self._control(self._delay, seconds)

    def _enter(self, mode: _Mode) -> None:
        if mode is not self.mode and (mode is _Mode.REFUSES or self.mode is _Mode.HANGS):
            self._cut_all()
        self.mode = mode

    def _cut_all(self) -> None:
        for end in list(self.ends):
            end.cut()

    def _half_close(self, kind: type["_End"]) -> None:
        for end in list(self.ends):
            if isinstance(end, kind):
                end.half_close()

    def _delay(self, seconds: float) -> None:
        self.delay_seconds = seconds
        for end in list(self.ends):
            end.release_all()

    def _control(self, change: Callable[..., None], *arguments: object) -> None:
        """Make a change in the thread of the loop, and wait for it."""

        async def change_and_close() -> None:
            change(*arguments)
            # A connection that is cut closes its socket in the next turn of the loop.
            await asyncio.sleep(0)

        done = asyncio.run_coroutine_threadsafe(change_and_close(), self._loop)
        done.result(CONTROL_SECONDS)

    def _run(self, started: Future[None]) -> None:
        try:
            asyncio.run(self._serve(started))
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    async def _serve(self, started: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        listener = await self._loop.create_server(lambda: _ClientEnd(self), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        started.set_result(None)
        await self._closing.wait()
        # Whoever is being accepted right now finds itself refused. It must be so before the
        # listener closes, or CPython 3.11 leaves its socket open.
        self._enter(_Mode.REFUSES)
        for listening in listener.sockets:
            self._loop.remove_reader(listening.fileno())
        for _ in range(5):
            await asyncio.sleep(0)
        listener.close()


class _End(asyncio.Protocol):
    """One end of a connection through the proxy."""

    transport: asyncio.Transport

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.other: _End | None = None
        self.is_half_closed = False

    @property
    def hangs(self) -> bool:
        return self.proxy.mode is _Mode.HANGS

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.proxy.ends.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.proxy.ends.discard(self)
        if self.other is not None and not self.hangs:
            if exc is None:
                self.other.transport.close()
            else:
                self.other.cut()

    def eof_received(self) -> bool:
        if self.other is not None and not self.hangs:
            self.other.take(b"")
        # Stay open until the other end has closed.
        return True

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.transport.resume_reading()

    def take(self, data: bytes) -> None:
        """Send what the other end has received; nothing is the end of it."""
        if not data:
            self.transport.close()
        elif not self.transport.is_closing() and not self.is_half_closed:
            self.transport.write(data)

    def half_close(self) -> None:
        """Send the end of what it sends, and go on receiving; what comes to be sent is lost."""
        if not self.transport.is_closing():
            self.is_half_closed = True
            # It may have been reset a moment ago.
            with suppress(OSError):
                self.transport.write_eof()

    def cut(self) -> None:
        """Close with a reset, unless it is closed."""
        if self in self.proxy.ends:
            connection = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.transport.abort()

    def release_all(self) -> None:
        """Send what is held back."""


class _ClientEnd(_End):
    """The end that talks to the client."""

    def __init__(self, proxy: Proxy) -> None:
        super().__init__(proxy)
        self.drops_answer = False
        self._requests = _Requests()
        self._held: deque[tuple[asyncio.TimerHandle, bytes]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.proxy.connections += 1
        if self.proxy.mode is _Mode.REFUSES or len(self.proxy.ends) > 2 * MAX_CONNECTIONS:
            self.cut()
        elif not self.hangs:
            self.transport.pause_reading()
            # Kept, for the loop has only a weak reference to it.
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        server = _ServerEnd(self)
        try:
            await asyncio.get_running_loop().create_connection(lambda: server, *self.proxy.upstream)
        except OSError:
            if not self.hangs:
                self.cut()
            return
        self.other = server
        if self.transport.is_closing():
            server.cut()
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self.other is None or self.hangs:
            return
        self.other.take(data)
        for request in self._requests.feed(data):
            self.proxy.requests.append(request)
            if self.proxy.answers_to_drop > 0:
                self.proxy.answers_to_drop -= 1
                self.drops_answer = True

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer, _ in self._held:
            timer.cancel()

    def take(self, data: bytes) -> None:
        if self.proxy.delay_seconds <= 0:
            super().take(data)
            return
        loop = asyncio.get_running_loop()
        self._held.append((loop.call_later(self.proxy.delay_seconds, self._release), data))
        if self.other is not None and len(self._held) >= MAX_HELD:
            self.other.transport.pause_reading()

    def release_all(self) -> None:
        while self._held:
            self._release()

    def _release(self) -> None:
        timer, data = self._held.popleft()
        timer.cancel()
        if not self.hangs:
            super().take(data)
            self.resume_writing()


class _ServerEnd(_End):
    """The end that talks to the server."""

    def __init__(self, client: _ClientEnd) -> None:
        super().__init__(client.proxy)
        self.other = self._client = client

    def data_received(self, data: bytes) -> None:
        if self.hangs:
            return
        if self._client.drops_answer:
            self._client.cut()
            self.cut()
        else:
            self._client.take(data)


class _Requests:
    """Finds the requests in what a client sends; a body must have a Content-Length."""

    def __init__(self) -> None:
        self._head = b""
        self._body_left = 0

    def feed(self, data: bytes) -> Iterator[tuple[str, str]]:
        """Read on, and yield method and path of each request whose head is complete."""
        while data:
            body, data = data[: self._body_left], data[self._body_left :]
            self._body_left -= len(body)
            head, end, rest = (self._head + data).partition(b"\r\n\r\n")
            if not end:
                self._head = head
                return
            self._head, data = b"", rest
            start, *fields = head.decode("latin-1").split("\r\n")
            for name, _, value in (field.partition(":") for field in fields):
                if name.lower() == "content-length":
                    self._body_left = int(value)
            method, target, _ = start.split(" ", 2)
            yield method, urlsplit(target).path
