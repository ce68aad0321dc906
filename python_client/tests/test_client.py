"""`Client`: each call, what is refused, and what happens if the server is not there."""

import math
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from helpers import in_background, wait_until
from observing import peers
from proxy import Proxy
from recorder import Recorder
from throttle_client import (
    Client,
    Refused,
    UnknownPeer,
    UnknownSemaphore,
    Unreachable,
)
from throttle_client.testing import Server, StartServer

ODD_NAMES = ["a/b", "..", ".", "%41", "ä", "new\nline", "is_acquired", "🚦", "a b?c#d&e=f", "a+b"]
UNKNOWN = 4242


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """Start a server that notes what it is asked."""
    with Recorder() as recorder:
        yield recorder


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let calls give up after half a second, and wait a fifth of one for an answer."""
    monkeypatch.setattr("throttle_client._client.PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr("throttle_client._wire.REPLY_SECONDS", 0.2)


@pytest.fixture
def client(server: Server) -> Client:
    """Talk to a server."""
    return Client(server.url)


@pytest.mark.parametrize("expires_in", [timedelta(minutes=1), 60, 60.5])
def test_new_peer_is_known_and_holds_nothing(client: Client, expires_in: timedelta | float) -> None:
    """A lease may be a `timedelta` or seconds; the id is that of a peer which waits for nothing."""
    peer = client.new_peer(expires_in)

    assert client.is_acquired(peer)
    assert 5 == client.remainder("A")


def test_acquire_says_whether_the_lock_is_acquired(client: Client) -> None:
    """`True` if it is held, `False` if it waits; asking again takes nothing twice."""
    first, second = client.new_peer(60), client.new_peer(60)

    results = [client.acquire(first, "A", 4) for _ in range(2)]
    results.append(client.acquire(second, "A", 2))

    assert [True, True, False] == results
    assert 1 == client.remainder("A")
    assert not client.is_acquired(second)


def test_acquire_blocks_until_the_lock_is_free(client: Client) -> None:
    """The answer is held back until the lock is granted, no longer."""
    first, second = client.new_peer(60), client.new_peer(60)
    client.acquire(first, "mutex")
    waiting = in_background(lambda: client.acquire(second, "mutex", block_for=30))
    wait_until(lambda: not client.is_acquired(second))

    client.release(first)

    assert waiting.result(10)


@pytest.mark.parametrize("block_for", [math.inf, timedelta.max, 1e10, 0, None])
def test_acquire_takes_any_time_to_block(
    client: Client, block_for: timedelta | float | None
) -> None:
    """However long that is, a free lock is acquired at once."""
    peer = client.new_peer(60)

    assert client.acquire(peer, "A", block_for=block_for)


def test_acquire_and_heartbeat_renew_the_lease(client: Client) -> None:
    """A peer of a short lease lives on for as long as it was told last."""
    peers = [client.new_peer(1), client.new_peer(1), client.new_peer(1)]
    began_at = time.monotonic()

    client.acquire(peers[0], "A", expires_in=timedelta(minutes=1))
    client.heartbeat(peers[1], 60.0)

    wait_until(lambda: not knows(client, peers[2]))
    assert time.monotonic() - began_at >= 0.9
    assert knows(client, peers[0])
    assert knows(client, peers[1])


def knows(client: Client, peer: int) -> bool:
    """Whether the server knows a peer."""
    try:
        client.is_acquired(peer)
    except UnknownPeer:
        return False
    return True


def test_release_lock_releases_this_lock_alone(client: Client) -> None:
    """The peer stays, and so do its other locks; again is quiet."""
    peer = client.new_peer(60)
    client.acquire(peer, "high")
    client.acquire(peer, "A", 3)

    client.release_lock(peer, "A")
    client.release_lock(peer, "A")

    assert [5, 1] == [client.remainder("A"), client.remainder("high")]


def test_release_releases_all_locks(client: Client) -> None:
    """With the peer go its locks; again is quiet."""
    peer = client.new_peer(60)
    client.acquire(peer, "high")
    client.acquire(peer, "A", 3)

    client.release(peer)
    client.release(peer)

    assert [5, 2] == [client.remainder("A"), client.remainder("high")]
    assert not knows(client, peer)


def test_restore_brings_back_even_beyond_max(client: Client) -> None:
    """What was held is held again, whoever else took it meanwhile."""
    client.acquire(client.new_peer(60), "mutex")

    client.restore(UNKNOWN, {"mutex": 1, "A": 2}, timedelta(minutes=1))

    assert [-1, 3] == [client.remainder("mutex"), client.remainder("A")]
    assert client.is_acquired(UNKNOWN)


def test_remove_expired_says_how_many(client: Client) -> None:
    """The server expires peers by itself, so that there is none left to remove."""
    assert 0 == client.remove_expired()


@pytest.mark.parametrize("name", ODD_NAMES)
def test_name_reaches_its_semaphore(throttle_server: StartServer, name: str) -> None:
    """Whatever is in a name, all calls mean the semaphore of that name and no other."""
    client = Client(throttle_server({name: 2, "A": 1, "b": 1}).url)
    peer = client.new_peer(60)

    acquired = client.acquire(peer, name)
    left = client.remainder(name)
    client.release_lock(peer, name)

    assert acquired
    assert [1, 2] == [left, client.remainder(name)]
    assert client.is_acquired(peer)


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.acquire(UNKNOWN, "A"),
        lambda client: client.heartbeat(UNKNOWN, 60),
        lambda client: client.is_acquired(UNKNOWN),
        lambda client: client.release_lock(UNKNOWN, "A"),
    ],
    ids=["acquire", "heartbeat", "is_acquired", "release_lock"],
)
def test_unknown_peer_is_told(client: Client, call: Callable[[Client], object]) -> None:
    """The error says so, with the code, and which start of the server does not know it."""
    with pytest.raises(UnknownPeer, match="Unknown peer") as caught:
        call(client)

    assert (400, "unknown_peer") == (caught.value.status, caught.value.code)
    assert caught.value.instance is not None


@pytest.mark.parametrize("name", ["nope", ""])
@pytest.mark.parametrize(
    "call",
    [
        lambda client, name: client.acquire(client.new_peer(60), name),
        lambda client, name: client.release_lock(client.new_peer(60), name),
        lambda client, name: client.restore(UNKNOWN, {name: 1}, 60),
        lambda client, name: client.remainder(name),
    ],
    ids=["acquire", "release_lock", "restore", "remainder"],
)
def test_unknown_semaphore_is_told(
    client: Client, call: Callable[[Client, str], object], name: str
) -> None:
    """The error says so, with the code."""
    with pytest.raises(UnknownSemaphore, match="Unknown semaphore") as caught:
        call(client, name)

    assert (400, "unknown_semaphore") == (caught.value.status, caught.value.code)


@pytest.mark.parametrize(
    ("semaphore", "count", "code", "status"),
    [
        ("middle", 3, "count_above_max", 409),
        ("A", 0, "count_below_one", 400),
        ("A", -1, "count_below_one", 400),
        ("high", 1, "level_violation", 409),
        ("middle", 2, "grow", 409),
        ("mutex", 1, "already_pending", 409),
    ],
)
def test_refusal_is_told(
    client: Client, semaphore: str, count: int, code: str, status: int
) -> None:
    """The error is a `ValueError` with code and status, and changes nothing."""
    other, peer = client.new_peer(60), client.new_peer(60)
    client.acquire(other, "B", 5)
    client.acquire(peer, "middle")
    client.acquire(peer, "B")

    with pytest.raises(Refused) as caught:
        client.acquire(peer, semaphore, count)

    assert (code, status) == (caught.value.code, caught.value.status)
    assert isinstance(caught.value, ValueError)
    assert not isinstance(caught.value, UnknownPeer | UnknownSemaphore)
    assert [5, 1] == [client.remainder("A"), client.remainder("middle")]


def test_restore_of_another_peer_is_refused(client: Client) -> None:
    """A peer that exists keeps what it has."""
    peer = client.new_peer(60)
    client.acquire(peer, "A")

    with pytest.raises(Refused, match="Restore is not allowed") as caught:
        client.restore(peer, {"A": 2}, 60)

    assert ("restore_conflict", 409) == (caught.value.code, caught.value.status)


@pytest.mark.parametrize(
    ("duration", "error"),
    [(0, ValueError), (-1, ValueError), (math.nan, ValueError), ("5m", TypeError)],
)
def test_what_is_no_lease_is_refused_before_any_request(
    recorder: Recorder, duration: Any, error: type[Exception]
) -> None:
    """A lease must be longer than zero; nothing is sent."""
    client = Client(recorder.url)
    calls: list[Callable[[], object]] = [
        lambda: client.new_peer(duration),
        lambda: client.acquire(1, "A", expires_in=duration),
        lambda: client.restore(1, {}, duration),
        lambda: client.heartbeat(1, duration),
    ]

    for call in calls:
        with pytest.raises(error, match="expires_in must be"):
            call()

    assert not recorder.requests


@pytest.mark.usefixtures("impatient")
def test_missing_server_is_unreachable(server: Server, client: Client) -> None:
    """A server that is not there is tried for a while; the request was never sent."""
    server.kill()
    began_at = time.monotonic()

    with pytest.raises(Unreachable, match=server.url) as caught:
        client.remainder("A")

    assert time.monotonic() - began_at >= 0.1
    assert not caught.value.is_sent
    assert caught.value.status is None


@pytest.mark.usefixtures("impatient")
def test_silent_server_is_unreachable(server: Server, client: Client) -> None:
    """A server that accepts and never answers does not block for ever; it may have been changed."""
    client.remainder("A")
    server.pause()
    began_at = time.monotonic()

    with pytest.raises(Unreachable) as caught:
        client.remainder("A")

    assert 0.2 <= time.monotonic() - began_at < 10
    assert caught.value.is_sent


def test_call_waits_for_a_server_that_comes_back(server: Server, client: Client) -> None:
    """A restart of the server is no error for whoever asks meanwhile."""
    with Proxy(server.url) as proxy:
        server.kill()
        asking = in_background(lambda: Client(proxy.url).remainder("A"))
        wait_until(lambda: proxy.connections >= 2)

        server.start()

        assert 5 == asking.result(20)


def test_answer_that_got_lost_is_fetched_again(server: Server) -> None:
    """A call whose answer is lost is repeated, and changes nothing twice."""
    with Proxy(server.url) as proxy:
        client = Client(proxy.url)
        proxy.drop_answers(1)

        peer = client.new_peer(60)
        proxy.drop_answers(1)
        client.acquire(peer, "A", 2)

        assert 4 == len(proxy.requests)
        assert 3 == client.remainder("A")
    assert [peer] == [known["id"] for known in peers(server.url)]
