"""The way to the server for asyncio, over aiohttp, which the extra `asyncio` installs."""

import asyncio
import atexit
import ssl
from collections.abc import AsyncGenerator
from contextlib import suppress
from weakref import WeakSet

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
from throttle_client._wire import CONNECT_SECONDS, Answer, Request, answer, run


class AsyncWire:
    """The way to the server for asyncio."""

    def __init__(self, client: Client) -> None:
        """Talk to the server of a client."""
        self._client = client

    async def send(self, request: Request, timeout: float) -> Answer:
        """Send a request once, see `Wire`."""
        client = self._client
        session, is_kept = await _session()
        limits = aiohttp.ClientTimeout(
            total=timeout + CONNECT_SECONDS,
            connect=min(CONNECT_SECONDS, timeout),
            sock_read=timeout,
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
        finally:
            if not is_kept:
                await session.close()
        client.note(got)
        return got

    async def sleep(self, seconds: float) -> None:
        """Let others run for that long."""
        await asyncio.sleep(seconds)


_Keeper = tuple[AsyncGenerator[aiohttp.ClientSession], aiohttp.ClientSession]
_sessions: dict[asyncio.AbstractEventLoop, _Keeper] = {}
_ending: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


async def _session() -> tuple[aiohttp.ClientSession, bool]:
    """Get the connections of the event loop that runs; and whether it keeps them."""
    loop = asyncio.get_running_loop()
    if loop in _ending:
        return _new_session(), False
    if loop not in _sessions:
        _forget_closed_loops()
        keeper = _keep_session()
        _sessions[loop] = keeper, await anext(keeper)
    return _sessions[loop][1], True


async def _keep_session() -> AsyncGenerator[aiohttp.ClientSession]:
    """Keep connections until the event loop ends, which closes what generates asynchronously."""
    loop = asyncio.get_running_loop()
    session = _new_session()
    try:
        yield session
    finally:
        _ending.add(loop)
        _sessions.pop(loop, None)
        await session.close()


def _new_session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=60)
    session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
    # It would repeat a release by itself, and nobody could tell the second one from the first.
    session._retry_connection = False
    return session


@atexit.register
def _forget_closed_loops() -> None:
    """Close the connections of event loops that were closed without closing what generates."""
    for loop, (_, session) in list(_sessions.items()):
        if loop.is_closed():
            _sessions.pop(loop, None)
            # There is nothing that it could wait for.
            with suppress(RuntimeError):
                run(session.close())
