"""The way to the server for asyncio, over aiohttp, which the extra `asyncio` installs."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

try:
    import aiohttp
    from yarl import URL
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "`async with lock(...)` needs aiohttp: pip install 'throttle-client[asyncio]'"
    ) from error

from throttle_client._client import Client, failure
from throttle_client._durations import now
from throttle_client._errors import InvalidUrl, Timeout
from throttle_client._wire import CONNECT_SECONDS, Answer, Request, answer

# How many tasks of an event loop wait for the same semaphores at the server at the same time. Each
# takes a connection; the others wait for their turn before, and the system's limit of open files is
# not reached.
WAITING_TASKS = 256


class AsyncWire:
    """The way to the server for asyncio."""

    def __init__(self, client: Client) -> None:
        """Talk to the server of a client."""
        self._client = client

    async def send(self, request: Request, timeout: float) -> Answer:
        """Send a request once, see `Wire`."""
        client = self._client
        session = await _session()
        limits = aiohttp.ClientTimeout(
            total=None, connect=min(CONNECT_SECONDS, timeout), sock_read=timeout
        )
        sent_at = now()
        try:
            async with session.request(
                request.method,
                URL(client.origin + client.target(request), encoded=True),
                data=request.body,
                headers=client.headers,
                timeout=limits,
                allow_redirects=False,
            ) as response:
                got = answer(response.status, response.headers, await response.read(), sent_at)
        except aiohttp.InvalidURL as error:
            raise InvalidUrl(f"{client.address} is no URL of a server: {error}") from error
        except (aiohttp.ClientError, ssl.SSLError, OSError) as error:
            never_sent = aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError
            is_sent = not isinstance(error, never_sent)
            raise failure(client.address, error, is_sent=is_sent) from error
        client.note(got)
        return got

    async def sleep(self, seconds: float) -> None:
        """Let others run for that long."""
        await asyncio.sleep(seconds)


def in_loop() -> Callable[[Callable[[], None]], None]:
    """Get a way to call something in the event loop that runs, from any thread."""
    loop = asyncio.get_running_loop()

    def call_in_loop(call: Callable[[], None]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(call)

    return call_in_loop


@asynccontextmanager
async def turn(
    url: str, semaphores: Collection[str], timeout: float | None
) -> AsyncIterator[float]:
    """Wait for the turn to wait at the server.

    Whoever holds something already must not wait here: those who are before it may wait for just
    that.

    Args:
        url: The server.
        semaphores: What is waited for.
        timeout: For how many seconds to wait altogether.

    Yields:
        How many seconds that took.

    Raises:
        Timeout: The turn did not come in time.
    """
    loop = asyncio.get_running_loop()
    key = id(loop), url, frozenset(semaphores)
    line = _lines.get(key)
    if line is None:
        line = _lines[key] = asyncio.Semaphore(WAITING_TASKS)
    began_at = loop.time()
    try:
        async with asyncio.timeout(timeout):
            await line.acquire()
    except TimeoutError:
        names = ", ".join(f"`{name}`" for name in semaphores)
        raise Timeout(f"{names} was not acquired within {timeout:g} seconds") from None
    try:
        yield loop.time() - began_at
    finally:
        line.release()


_lines: "WeakValueDictionary[tuple[int, str, frozenset[str]], asyncio.Semaphore]" = (
    WeakValueDictionary()
)
_sessions: dict[
    asyncio.AbstractEventLoop, tuple[AsyncGenerator[aiohttp.ClientSession], aiohttp.ClientSession]
] = {}


async def _session() -> aiohttp.ClientSession:
    """Get the connections of the event loop that runs."""
    loop = asyncio.get_running_loop()
    found = _sessions.get(loop)
    if found is None or found[1].closed:
        for closed in [other for other in list(_sessions) if other.is_closed()]:
            _sessions.pop(closed, None)
        keeper = _keep_session()
        found = _sessions[loop] = keeper, await anext(keeper)
    return found[1]


async def _keep_session() -> AsyncGenerator[aiohttp.ClientSession]:
    """Keep connections until the event loop ends, which closes what generates asynchronously."""
    loop = asyncio.get_running_loop()
    connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=60)
    session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
    try:
        yield session
    finally:
        _sessions.pop(loop, None)
        await session.close()
