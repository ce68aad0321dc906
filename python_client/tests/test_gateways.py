"""Answers that come from a gateway, too late, or in the wrong order, and what follows from them."""

import asyncio
import http.client
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

import pytest

from helpers import in_background, wait_until
from observing import eventually, peers
from proxy import Proxy
from recorder import Recorder
from rivals import known, occupy
from serving import HttpServer
from throttle_client import Client, LockLost, Timeout, lock
from throttle_client._holding import Holding
from throttle_client._wire import Answer, Backoff
from throttle_client.testing import Server

LEASE = 1.0


class Gateway(HttpServer):
    """Passes requests on to a server, but does not wait for what it answers to asks.

    Attributes:
        status: What it answers to an ask instead; 0 to pass on what the server says.
        failures: How many asks it has answered so.
    """

    def __init__(self, server_url: str) -> None:
        """Listen on a free port."""
        super().__init__(_Passing)
        self.upstream = urlsplit(server_url).netloc
        self.status = 0
        self.failures = 0


class _Passing(BaseHTTPRequestHandler):
    server: Gateway  # pyright: ignore[reportIncompatibleVariableOverride]

    def handle_one_request(self) -> None:
        """Serve any method alike, and one request of each connection."""
        self.close_connection = True
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path, _, query = self.path.partition("?")
        kept = {"Content-Type": "application/json", "Accept": self.headers.get("Accept", "")}
        is_ask = self.command in ("POST", "PUT") and b"acquire" in body
        fails = is_ask and self.server.status > 0
        # One that is to fail is not to wait: it is pending at the server all the same.
        target = path if fails or not query else self.path
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=10)
        upstream.request(self.command, target, body, kept)
        answer = upstream.getresponse()
        text, status, headers = answer.read(), answer.status, dict(answer.headers)
        upstream.close()
        if fails:
            text, status, headers = b"the gateway has no answer", self.server.status, {}
        self.send_response(status)
        for name, value in headers.items():
            if name.lower().startswith(("throttle-", "content-type")):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(text)
        self.server.failures += fails

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing."""


@pytest.fixture
def gateway(server: Server) -> Iterator[Gateway]:
    """Start a gateway in front of the server."""
    with Gateway(server.url) as gateway:
        yield gateway


@pytest.mark.parametrize("status", [502, 503, 504])
def test_ask_that_a_gateway_answered_is_withdrawn_after_a_timeout(
    server: Server, gateway: Gateway, status: int
) -> None:
    """What a gateway says of itself tells nothing of the server, which may have the ask."""
    holder = occupy(server)
    gateway.status = status

    with pytest.raises(Timeout), lock(gateway.url, "mutex", timeout=0.3):
        pass

    assert gateway.failures > 0
    wait_until(lambda: {holder} == known(server).keys(), 5)


def test_inner_ask_that_a_gateway_answered_is_withdrawn_after_a_timeout(
    server: Server, gateway: Gateway
) -> None:
    """The outer lock stays, and waits for nothing."""
    occupy(server)

    with lock(gateway.url, "high") as outer:
        gateway.status = 504
        with pytest.raises(Timeout), lock(gateway.url, "mutex", timeout=0.3):
            pass

        wait_until(lambda: not known(server)[outer.id]["pending"], 5)
        assert {"high": 1} == known(server)[outer.id]["acquired"]
        assert gateway.failures > 0


async def test_ask_that_a_gateway_answered_is_withdrawn_by_a_cancelled_task(
    server: Server, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is cancelled during the pause before it would ask again."""
    monkeypatch.setattr(Backoff, "next", lambda backoff, asked_for=None: 60.0)
    holder = await asyncio.to_thread(occupy, server)
    gateway.status = 504

    async def wait() -> None:
        async with lock(gateway.url, "mutex"):
            pass

    task = asyncio.create_task(wait())
    await eventually(lambda: gateway.failures)
    # The answer has reached the task once the loop has had nothing else to do for a while.
    await asyncio.sleep(0.1)
    assert 2 == len(peers(server.url))

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: {holder} == known(server).keys(), 5)


def test_ask_that_a_gateway_answered_is_granted_once_it_works(
    server: Server, gateway: Gateway
) -> None:
    """The caller keeps its place, and gets its turn."""
    gateway.status = 504

    def hold() -> dict[str, int]:
        with lock(gateway.url, "mutex", timeout=20) as lease:
            acquired: dict[str, int] = known(server)[lease.id]["acquired"]
            return acquired

    held = in_background(hold)
    wait_until(lambda: gateway.failures)
    gateway.status = 0

    assert {"mutex": 1} == held.result(20)
    assert [] == peers(server.url)


def test_ask_that_the_server_itself_put_off_is_not_withdrawn() -> None:
    """A server that is full says so under its own name, and has no such ask."""
    with Recorder() as recorder:
        recorder.answers = [(503, {"Throttle-Instance": "7", "Retry-After": "1"}, "full")]

        with pytest.raises(Timeout), lock(recorder.url, "A", timeout=0.3):
            pass

        assert {"POST"} == {method for method, _, _, _ in recorder.requests}


def test_grant_that_comes_after_its_lease_is_asked_for_anew(server: Server, proxy: Proxy) -> None:
    """The block is not entered with a lock that is somebody else's by now."""
    proxy.delay(30)

    def hold() -> dict[str, int]:
        with lock(proxy.url, "mutex", expires_in=LEASE, timeout=20) as lease:
            lease.check()
            acquired: dict[str, int] = known(server)[lease.id]["acquired"]
            return acquired

    held = in_background(hold)
    wait_until(lambda: peers(server.url))
    wait_until(lambda: not peers(server.url))
    proxy.delay(0)

    assert {"mutex": 1} == held.result(10)
    assert 2 == proxy.requests.count(("POST", "/new_peer"))
    assert [] == peers(server.url)


def test_inner_grant_that_comes_after_the_lease_is_a_loss(server: Server, proxy: Proxy) -> None:
    """What was held before is lost as well, so the inner block is not entered."""
    entered = False
    terms: dict[str, Any] = {"heartbeat_interval": None, "raise_if_lost": False}
    with lock(proxy.url, "high", expires_in=LEASE, **terms) as outer:
        proxy.delay(30)

        def let_go() -> None:
            wait_until(
                lambda: outer.id in known(server) and "A" in known(server)[outer.id]["acquired"]
            )
            wait_until(lambda: not peers(server.url))
            proxy.delay(0)

        in_background(let_go)

        with pytest.raises(LockLost), lock(proxy.url, "A", **terms):
            entered = True

    assert not entered


async def test_release_of_a_task_whose_answer_is_lost_is_no_loss(
    server: Server, proxy: Proxy
) -> None:
    """It is sent again, and who does not know the peer then has released it the first time."""
    async with lock(proxy.url, "mutex"):
        proxy.drop_answers(1)

    assert [] == peers(server.url)


def test_outdated_answer_changes_nothing() -> None:
    """Answers may overtake each other; the last request that was sent tells how things stand."""
    holding = Holding(Client("http://localhost"), 60, peer_id=5)
    holding.renew(Answer(200, "", 100.0, expires_in=60.0, instance=2))

    holding.renew(Answer(200, "", 99.0, expires_in=30.0, instance=1))

    assert (2, 100.0, 60.0) == (holding.instance, holding.renewed_at, holding.good_for)


def test_server_is_left_alone_for_half_a_minute_at_most() -> None:
    """Whatever it asks for; but for a bit by chance, so that not all come back together."""
    pauses = [Backoff().next(1e9) for _ in range(100)]

    assert 30 <= min(pauses)
    assert max(pauses) <= 36
