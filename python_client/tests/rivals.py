"""What tests of faults need: somebody else who waits for the lock, and blocks that lose theirs."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from helpers import in_background, wait_until
from observing import peers
from proxy import Proxy
from throttle_client import Client, Lease, Lock, LockLost
from throttle_client.testing import Server

# A lock on such terms is soon lost.
UNATTENDED: dict[str, Any] = {"expires_in": 0.6, "heartbeat_interval": None}

T = TypeVar("T")


def known(server: Server) -> dict[int, dict[str, Any]]:
    """Ask the server itself for its peers, by id."""
    return {peer["id"]: peer for peer in peers(server.url)}


def rival(server: Server, look: Callable[[], T], semaphore: str = "mutex") -> Future[T]:
    """Have another peer wait for a semaphore at the server itself; returns once it is queued.

    Args:
        server: Where to wait.
        look: Called at the moment of its grant.
        semaphore: What to wait for.

    Returns:
        What that returned.
    """
    client = Client(server.url)
    peer_id = client.new_peer(60)

    def wait() -> T:
        assert client.acquire(peer_id, semaphore, block_for=30)
        return look()

    seen = in_background(wait)
    wait_until(lambda: known(server)[peer_id]["pending"])
    return seen


def occupy(server: Server, semaphore: str = "mutex") -> int:
    """Have another peer hold a semaphore with max 1; returns its id."""
    client = Client(server.url)
    peer_id = client.new_peer(60)
    assert client.acquire(peer_id, semaphore)
    return peer_id


@contextmanager
def losing(lock: Lock) -> Iterator[Lease]:
    """Hold a lock, and expect that leaving its block raises `LockLost`."""
    with pytest.raises(LockLost), lock as lease:
        yield lease


def beats(proxy: Proxy, lease: Lease) -> int:
    """Count the heartbeats of a peer, and those of its asks that name no semaphore in the path."""
    return proxy.requests.count(("PUT", f"/peers/{lease.id}"))
