"""`without_server`: code that takes locks runs in tests where no server is."""

import pytest

from throttle_client import Client, Peer, lock
from throttle_client.testing import without_server

NOWHERE = "http://127.0.0.1:9"


def test_locks_are_granted_at_once() -> None:
    """Every lock is free, nested ones and several at once too."""
    with without_server(), lock(NOWHERE, "A") as outer, lock(NOWHERE, {"B": 2, "C": 1}) as inner:
        outer.check()
        acquired = dict(inner.acquired)

    assert {"A": 1, "B": 2, "C": 1} == acquired
    assert outer.token is not None
    assert inner.token is not None
    assert outer.token < inner.token


def test_name_and_labels_are_taken() -> None:
    """They are checked as ever, and shown to nobody."""
    with without_server():
        with lock(NOWHERE, "A", name="me", labels={"job": "nightly", "pid": None}) as lease:
            lease.check()
        peer = Peer(Client(NOWHERE), labels={"job": "nightly"})
        peer.restore()
        with pytest.raises(TypeError, match="a label must be"):
            lock(NOWHERE, "A", labels={"job": 5})  # type: ignore[dict-item]  # pyright: ignore


def test_decorated_function_runs() -> None:
    """A decorated function needs no server."""

    @lock(NOWHERE, "A", timeout=0)
    def answer() -> int:
        return 42

    with without_server():
        result = answer()

    assert 42 == result


async def test_locks_of_asyncio_are_granted_at_once() -> None:
    """`async with` needs no server either."""
    with without_server():
        async with lock(NOWHERE, "A") as lease:
            lease.check()

    assert not lease.lost.is_set()


def test_calls_are_answered() -> None:
    """The calls of `Client` and `Peer` answer what a server with enough of everything would."""
    with without_server():
        client = Client(NOWHERE)
        peer = Peer(client)
        answers = [peer.acquire("A"), client.is_acquired(peer.id), client.remainder("A") > 0]
        peer.heartbeat()
        peer.release("A")
        peer.remove_from_server()
        removed = client.remove_expired()

    assert [True, True, True] == answers
    assert 0 == removed
