"""The way to the server for asyncio, over aiohttp, which the extra `asyncio` installs."""

import asyncio
import ssl
from collections.abc import AsyncGenerator

try:
    import aiohttp
    from yarl import URL
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "`async with lock(...)` needs aiohttp; the extra `throttle-client[asyncio]` brings it"
    ) from error

from throttle_client._client import Client, failure
from throttle_client._durations import now
from throttle_client._errors import InvalidUrl
from throttle_client._wire import CONNECT_SECONDS, Answer, Request, answer


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
                headers=client.headers(request),
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
