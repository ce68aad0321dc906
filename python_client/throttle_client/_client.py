"""`Client`: the calls of the server, one method each, over connections that are kept.

It has no policy: it holds nothing, renews nothing, and gives nothing back by itself.
"""

import base64
import os
import secrets
import ssl
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, LocationValueError, SSLError
from urllib3.util import SKIP_HEADER, Url, parse_url
from urllib3.util import Timeout as SocketTimeout

from throttle_client._about import About, Labels
from throttle_client._durations import Duration, lease_seconds, now, seconds, spell
from throttle_client._errors import InvalidUrl, TlsRefused, Unreachable
from throttle_client._pool import POOLS
from throttle_client._version import __version__
from throttle_client._wire import (
    CONNECT_SECONDS,
    PATIENCE_SECONDS,
    PROBLEM,
    Answer,
    Request,
    Wire,
    answer,
    call,
    integer,
    request,
    run,
)

HEADERS = {"Accept": f"{PROBLEM}, */*", "User-Agent": f"throttle-client/{__version__}"}
# What urllib3 would send by itself, and nobody needs.
NO_ENCODING = {"Accept-Encoding": SKIP_HEADER}
# What a socket takes.
LONGEST_TIMEOUT_SECONDS = 1e6
# Connections beyond this number are made when needed, and not kept.
KEPT_CONNECTIONS = 1000


# Ids that the server takes from a caller.
SMALLEST_ID, LARGEST_ID = 2**32, 2**53 - 1


def draw_id() -> int:
    """Draw the id of a new peer."""
    return SMALLEST_ID + secrets.randbelow(LARGEST_ID - SMALLEST_ID + 1)


class Client:
    """The calls of a Throttle server.

    A call that fails for want of an answer is repeated for up to 30 seconds; all of them are safe
    to repeat. May be shared by threads; a child process makes connections of its own. Can be
    pickled. Proxies of the environment (`HTTP_PROXY`) are not used.

    Attributes:
        base_url: The URL of the server.
    """

    def __init__(self, base_url: str) -> None:
        """Remember where the server is; nothing is sent.

        Args:
            base_url: Such as `http://localhost:8000`. May have a path, for a server behind a
                reverse proxy, and `user:password@` for basic authentication there.

        Raises:
            InvalidUrl: That is not the URL of a server.
        """
        self.base_url = base_url
        self._url = _parse(base_url)
        # The server is one without `acquire`, tokens and the like; the last answer tells.
        self.is_classic = False
        self._headers = HEADERS | _authorization(self._url.auth)
        self._headers_of_bodies = self._headers | {"Content-Type": "application/json"}
        self._pool: urllib3.HTTPConnectionPool | None = None
        self._pool_pid = 0

    @property
    def address(self) -> str:
        """The URL of the server without credentials and trailing slash, for people to read."""
        return self._url._replace(auth=None).url

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return Url(self._url.scheme, None, self._url.host, self._url.port).url

    def new_peer(
        self, expires_in: Duration, *, name: str | None = None, labels: Labels | None = None
    ) -> int:
        """Make a peer.

        Args:
            expires_in: The length of its lease.
            name: What people call it; by default `program@host`.
            labels: Added to `host`, `pid` and `program` of this process, see `lock`.

        Returns:
            The id of the peer.

        Raises:
            TypeError: An argument is of the wrong type.
            Refused: The lease is longer than the server permits, or it takes no such labels.
            Unreachable: No answer for 30 seconds.
        """
        about = About(name, labels)
        body: dict[str, Any] = {"expires_in": spell(lease_seconds(expires_in))}
        if not self.is_classic:
            body |= {"peer_id": draw_id(), **about.spell()}
        return integer(self._call(request("POST", "new_peer", body=body)))

    def acquire(
        self,
        peer_id: int,
        semaphore: str,
        count: int = 1,
        expires_in: Duration | None = None,
        block_for: Duration | None = None,
    ) -> bool:
        """Ask for a lock. Asking again is safe: it takes nothing twice, and keeps the place.

        Args:
            peer_id: Who asks.
            semaphore: Of which semaphore.
            count: For how many permits.
            expires_in: Renews the lease of the peer for that long.
            block_for: How long the server may hold the answer back until the lock is acquired.

        Returns:
            Whether it is acquired; if not, it is pending.

        Raises:
            UnknownPeer: See there.
            UnknownSemaphore: See there.
            Refused: The count is not positive or above max, the level of the semaphore is not
                below what the peer holds, or the peer waits for another lock.
            Unreachable: No answer for 30 seconds.
        """
        query = {}
        if expires_in is not None:
            query["expires_in"] = spell(lease_seconds(expires_in))
        park = seconds(block_for, "block_for") if block_for is not None else 0.0
        if park:
            query["block_for"] = spell(park)
        return self._call(ask_for_one(peer_id, semaphore, count, query), park).status == 200

    def restore(
        self,
        peer_id: int,
        acquired: Mapping[str, int],
        expires_in: Duration,
        *,
        name: str | None = None,
        labels: Labels | None = None,
    ) -> None:
        """Bring a peer back with the locks that it held, after a restart of the server.

        Args:
            peer_id: The id that the peer had.
            acquired: The counts that it held, for each semaphore. They are acquired even beyond
                max.
            expires_in: The length of its lease from now on.
            name: What people call it, see `new_peer`.
            labels: See there, too.

        Raises:
            TypeError: An argument is of the wrong type.
            UnknownSemaphore: See there.
            Refused: The peer exists otherwise, or was revoked.
            Unreachable: No answer for 30 seconds.
        """
        about = About(name, labels)
        length = spell(lease_seconds(expires_in))
        body = {"expires_in": length, "peer_id": peer_id, "acquired": dict(acquired)}
        if not self.is_classic:
            body |= about.spell()
        self._call(request("POST", "restore", body=body))

    def remainder(self, semaphore: str) -> int:
        """Count the permits that are left; negative while a restore over-commits the semaphore.

        Raises:
            UnknownSemaphore: See there.
            Unreachable: No answer for 30 seconds.
        """
        query = {"semaphore": semaphore}
        return integer(self._call(request("GET", "remainder", query=query)))

    def is_acquired(self, peer_id: int) -> bool:
        """Whether the peer waits for nothing. This does not renew its lease.

        Raises:
            UnknownPeer: See there.
            Unreachable: No answer for 30 seconds.
        """
        return self._call(request("GET", "peers", peer_id, "is_acquired")).body == "true"

    def release(self, peer_id: int) -> None:
        """Release a peer and all its locks; quiet where there is no such peer.

        Raises:
            Unreachable: No answer for 30 seconds.
        """
        self._call(request("DELETE", "peers", peer_id))

    def release_lock(self, peer_id: int, semaphore: str) -> None:
        """Release one lock, or withdraw the ask that it is part of; quiet where there is none.

        Raises:
            UnknownPeer: See there.
            UnknownSemaphore: See there.
            Unreachable: No answer for 30 seconds.
        """
        self._call(request("DELETE", "peers", peer_id, semaphore))

    def heartbeat(self, peer_id: int, expires_in: Duration) -> None:
        """Renew the lease of a peer: it ends that long from now.

        Raises:
            UnknownPeer: See there.
            Unreachable: No answer for 30 seconds.
        """
        body = {"expires_in": spell(lease_seconds(expires_in))}
        self._call(request("PUT", "peers", peer_id, body=body))

    def remove_expired(self) -> int:
        """Let the server expire peers now, which it also does by itself.

        Returns:
            How many it expired.

        Raises:
            Unreachable: No answer for 30 seconds.
        """
        return integer(self._call(request("POST", "remove_expired")))

    def note(self, answer: Answer) -> None:
        """Learn from an answer what kind of server it is that answers."""
        if answer.is_good or answer.instance is not None:
            self.is_classic = answer.instance is None

    def blocking_wire(self) -> Wire:
        """Get the way to the server for threads."""
        return BlockingWire(self)

    def async_wire(self) -> Wire:
        """Get the way to the server for asyncio.

        Raises:
            ModuleNotFoundError: The extra `asyncio` is not installed.
        """
        from throttle_client._async import AsyncWire

        return AsyncWire(self)

    def pool(self) -> urllib3.HTTPConnectionPool:
        """Get the connections of this process; those of a parent process are its own."""
        pool = self._pool
        if pool is None or self._pool_pid != os.getpid():
            port = self._url.port or {"http": 80, "https": 443}[str(self._url.scheme)]
            kind = POOLS[str(self._url.scheme)]
            pool = kind(str(self._url.hostname), port, maxsize=KEPT_CONNECTIONS)
            self._pool, self._pool_pid = pool, os.getpid()
        return pool

    def headers(self, request: Request) -> dict[str, str]:
        """Get what is sent along with a request."""
        return self._headers if request.body is None else self._headers_of_bodies

    def target(self, request: Request) -> str:
        """Spell the path of a request as it goes over the wire."""
        return (self._url.path or "") + request.path

    def __repr__(self) -> str:
        """Name the server, without credentials."""
        return f"Client({self.address!r})"

    def __getstate__(self) -> dict[str, Any]:
        """Keep the URL alone: connections do not travel."""
        return {"base_url": self.base_url}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin anew with the same URL."""
        self.__init__(state["base_url"])  # type: ignore[misc]

    def _call(self, request: Request, park: float = 0.0) -> Answer:
        return run(call(self.blocking_wire(), request, PATIENCE_SECONDS, park))


class BlockingWire:
    """The way to the server for threads: it blocks, and never suspends its coroutine."""

    def __init__(self, client: Client) -> None:
        """Use the connections of a client."""
        self.client = client

    async def send(self, request: Request, timeout: float) -> Answer:
        """Send a request once, see `Wire`."""
        client = self.client
        sent_at = now()
        timeout = min(timeout, LONGEST_TIMEOUT_SECONDS)
        try:
            response = client.pool().urlopen(
                request.method,
                client.target(request),
                request.body,
                client.headers(request) | NO_ENCODING,
                retries=False,
                redirect=False,
                assert_same_host=False,
                timeout=SocketTimeout(connect=min(CONNECT_SECONDS, timeout), read=timeout),
            )
        except LocationValueError as error:
            raise InvalidUrl(f"{client.address} is no URL of a server: {error}") from error
        except (HTTPError, OSError) as error:
            is_sent = not isinstance(error, ConnectTimeoutError)
            raise failure(client.address, error, is_sent=is_sent) from error
        got = answer(response.status, response.headers, response.data, sent_at)
        client.note(got)
        return got

    async def sleep(self, seconds: float) -> None:
        """Block for that long."""
        time.sleep(seconds)  # noqa: ASYNC251 - no event loop runs this


def ask_for_one(peer_id: int, semaphore: str, count: int, query: Mapping[str, str]) -> Request:
    """Spell the request for one lock."""
    return request("PUT", "peers", peer_id, semaphore, query=query, body=count)


def _authorization(auth: str | None) -> dict[str, str]:
    """Spell the credentials of a URL for basic authentication (RFC 7617)."""
    if auth is None:
        return {}
    credentials = base64.b64encode(unquote(auth).encode()).decode()
    return {"Authorization": f"Basic {credentials}"}


def failure(address: str, error: Exception, *, is_sent: bool) -> Unreachable | TlsRefused:
    """Tell whether trying again may help after there was no answer."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    reason = str(cause) or type(cause).__name__
    broken = ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError
    if isinstance(error, SSLError | ssl.SSLError) and not isinstance(cause, broken):
        return TlsRefused(f"no TLS connection to {address}: {reason}")
    return Unreachable(f"no answer from {address}: {reason}", is_sent=is_sent)


@lru_cache(maxsize=128)
def client_for(base_url: str) -> Client:
    """Get the client that this process shares for a URL."""
    return Client(base_url)


def _parse(base_url: str) -> Url:
    """Take a URL apart, or say what is wrong with it."""
    if not isinstance(base_url, str):
        raise TypeError(f"the URL of a server must be a str, not {base_url!r}")
    scheme, separator, rest = base_url.rpartition("://")
    shown = repr(scheme + separator + rest.rpartition("@")[2])
    remedy = "it must look like http://localhost:8000"
    try:
        url = parse_url(base_url)
    except LocationValueError:
        # The other error may quote credentials.
        raise InvalidUrl(f"{shown} is no URL of a server: {remedy}") from None
    if url.scheme not in POOLS or not url.host:
        raise InvalidUrl(f"{shown} is no URL of a server: {remedy}")
    if url.query is not None or url.fragment is not None:
        raise InvalidUrl(f"{shown} must not have a query or a fragment")
    return url._replace(path=(url.path or "").rstrip("/") or None)
