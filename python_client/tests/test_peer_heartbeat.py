"""Heartbeats of a `Peer`, begun and ended by hand: they keep a short lease alive."""

import math
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from helpers import wait_until
from observing import peers
from proxy import Proxy
from throttle_client import Client, Heartbeat, Peer, PeerWithHeartbeat, lock
from throttle_client.testing import Server

LEASE = 0.8


@pytest.fixture
def client(server: Server) -> Client:
    """Talk to a server."""
    return Client(server.url)


def is_known(server: Server, peer_id: int) -> bool:
    """Whether the server knows a peer."""
    return any(peer_id == peer["id"] for peer in peers(server.url))


def outlives(server: Server, peer_id: int, leases: float = 1.5) -> bool:
    """Whether the server knows a peer for so many leases without a gap."""
    until = time.monotonic() + leases * LEASE
    while time.monotonic() < until:
        if not is_known(server, peer_id):
            return False
        time.sleep(0.02)
    return True


def beats(proxy: Proxy) -> int:
    """Count the heartbeats that a peer sent."""
    return sum(method == "PUT" and path.count("/") == 2 for method, path in proxy.requests)


@pytest.mark.parametrize("kind", [Peer, PeerWithHeartbeat])
def test_heartbeat_keeps_a_short_lease_until_it_is_stopped(
    server: Server, client: Client, kind: type[Peer]
) -> None:
    """Begun twice or ended twice is quiet; afterwards, the lease runs out."""
    peer = kind(client, expiration_time=LEASE)
    peer.acquire("mutex")

    peer.start_heartbeat()
    peer.start_heartbeat()
    lived = outlives(server, peer.id)
    peer.stop_heartbeat()
    peer.stop_heartbeat()

    assert lived
    wait_until(lambda: not is_known(server, peer.id))


def test_peer_without_heartbeat_expires(server: Server, client: Client) -> None:
    """Nobody renews a lease without being asked to; ending what was not begun is quiet."""
    peer = PeerWithHeartbeat(client, expiration_time=LEASE)
    peer.acquire("mutex")

    peer.stop_heartbeat()

    wait_until(lambda: not is_known(server, peer.id))
    assert 1 == client.remainder("mutex")


def test_heartbeat_can_be_started_again(server: Server, client: Client) -> None:
    """After an end comes another beginning."""
    peer = Peer(client, expiration_time=LEASE)
    peer.acquire("mutex")
    peer.start_heartbeat()
    peer.stop_heartbeat()

    peer.start_heartbeat()

    assert outlives(server, peer.id)
    peer.stop_heartbeat()


def test_heartbeat_of_a_peer_without_locks_keeps_it(server: Server, client: Client) -> None:
    """The peer alone is worth keeping: its next lock needs no new one."""
    peer = Peer(client, expiration_time=LEASE)

    peer.start_heartbeat()

    assert outlives(server, peer.id)
    peer.stop_heartbeat()


def test_heartbeat_object_keeps_a_peer(server: Server, client: Client) -> None:
    """As 0.2.0 had it: made for a peer, started and stopped."""
    peer = Peer(client, expiration_time=LEASE)
    peer.acquire("mutex")
    heartbeat = Heartbeat(peer, timedelta(milliseconds=200))

    heartbeat.start()
    lived = outlives(server, peer.id)
    heartbeat.stop()
    heartbeat.stop()

    assert lived
    assert peer is heartbeat.peer
    assert 0.2 == heartbeat.interval_sec
    wait_until(lambda: not is_known(server, peer.id))


def begin_with_heartbeat(peer: Peer) -> None:
    """Begin as 0.2.0 did."""
    Heartbeat(peer, 0.1).start()


def begin_with_attribute(peer: Peer) -> None:
    """Begin as 0.5.13 did."""
    peer.heartbeat_interval = 0.1
    peer.start_heartbeat()


@pytest.mark.parametrize("begin", [begin_with_heartbeat, begin_with_attribute])
def test_beats_come_at_the_interval(server: Server, begin: Callable[[Peer], None]) -> None:
    """An interval that is shorter than a third of the lease counts."""
    with Proxy(server.url) as proxy:
        peer = Peer(Client(proxy.url), expiration_time=60)
        began_at = time.monotonic()

        begin(peer)
        wait_until(lambda: beats(proxy) >= 5)
        elapsed, count = time.monotonic() - began_at, beats(proxy)
        peer.remove_from_server()

    # Up to a fifth earlier by chance, each.
    assert elapsed >= 5 * 0.08
    assert count <= elapsed / 0.08 + 1


def test_beats_are_stopped_with_the_peer(server: Server) -> None:
    """A peer that was removed is not renewed, and not made anew."""
    with Proxy(server.url) as proxy:
        peer = Peer(Client(proxy.url), expiration_time=60)
        peer.heartbeat_interval = 0.05
        peer.start_heartbeat()
        wait_until(lambda: beats(proxy) >= 2)

        peer.remove_from_server()

        # One may have been on its way.
        sent = beats(proxy)
        time.sleep(0.3)
        assert beats(proxy) <= sent + 1
    assert [] == peers(server.url)


def test_peer_with_interval_beats_at_it_while_it_holds_a_lock(server: Server) -> None:
    """`lock` heeds the interval of the peer that it is given."""
    with Proxy(server.url) as proxy:
        peer = PeerWithHeartbeat(Client(proxy.url), heartbeat_interval=timedelta(milliseconds=50))

        with lock(peer, "A"):
            # The first one is the ask.
            wait_until(lambda: beats(proxy) >= 4)

    assert 0.05 == peer.heartbeat_seconds


def test_stop_inside_a_block_leaves_the_beats_of_the_lock(server: Server, client: Client) -> None:
    """Whoever ends a heartbeat ends the one that was begun, not that of the lock."""
    peer = Peer(client, expiration_time=LEASE)
    peer.start_heartbeat()

    with lock(peer, "A") as lease:
        peer.stop_heartbeat()
        lived = outlives(server, peer.id)
        lease.check()

    assert lived


def test_heartbeat_goes_on_after_a_lock(server: Server, client: Client) -> None:
    """The lock takes its peer along, and the peer begins anew; what was begun for it still beats.

    Otherwise whoever keeps the books, and takes a lock in between, loses the next one silently.
    """
    peer = Peer(client, expiration_time=LEASE)
    peer.start_heartbeat()
    with lock(peer, "A"):
        pass

    peer.acquire("mutex")
    lived = outlives(server, peer.id)
    peer.remove_from_server()

    assert lived


def test_heartbeat_can_be_begun_anew_after_a_lock(server: Server, client: Client) -> None:
    """Asking for it once more, in the new life of the peer, is heeded."""
    peer = Peer(client, expiration_time=LEASE)
    peer.start_heartbeat()
    with lock(peer, "A"):
        pass
    peer.acquire("mutex")

    peer.start_heartbeat()

    lived = outlives(server, peer.id)
    peer.remove_from_server()
    assert lived


def test_heartbeat_of_an_inner_lock_leaves_the_one_that_was_begun(
    server: Server, client: Client
) -> None:
    """A peer that holds something beside a lock is renewed after its block as before."""
    peer = Peer(client, expiration_time=LEASE)
    peer.acquire("high")
    peer.start_heartbeat()

    with lock(peer, "A"):
        pass

    lived = outlives(server, peer.id)
    peer.remove_from_server()
    assert lived


def test_heartbeat_restores_after_a_restart(server: Server, client: Client) -> None:
    """In the background as well, the new start of the server learns what is held."""
    peer = Peer(client)
    peer.heartbeat_interval = 0.1
    peer.acquire("A", 3)
    peer.start_heartbeat()

    server.kill()
    server.start()

    wait_until(lambda: is_known(server, peer.id))
    assert 2 == client.remainder("A")
    peer.remove_from_server()


def test_stop_does_not_wait_for_a_server_that_is_silent(server: Server, client: Client) -> None:
    """A beat that is on its way is left alone."""
    peer = Peer(client)
    peer.heartbeat_interval = 0.05
    peer.start_heartbeat()
    server.pause()
    time.sleep(0.2)

    began_at = time.monotonic()
    peer.stop_heartbeat()

    assert time.monotonic() - began_at < 2
    server.resume()


WRONG: list[Any] = [0, -1, timedelta(0), math.nan, "5m", True]


@pytest.mark.parametrize("interval", WRONG)
def test_heartbeat_refuses_what_is_no_interval(client: Client, interval: Any) -> None:
    """Without a pause between its beats, it would do nothing else."""
    peer = Peer(client)

    with pytest.raises((ValueError, TypeError), match="heartbeat_interval must be"):
        Heartbeat(peer, interval)


@pytest.mark.parametrize("interval", WRONG)
def test_peer_refuses_what_is_no_interval(server: Server, client: Client, interval: Any) -> None:
    """It is told when the peer is made, and none is made at the server."""
    with pytest.raises((ValueError, TypeError), match="heartbeat_interval must be"):
        PeerWithHeartbeat(client, heartbeat_interval=interval)

    assert [] == peers(server.url)


def test_heartbeat_of_a_forgotten_peer_does_not_hurry(server: Server) -> None:
    """A peer that holds nothing is not restored, and the server is not asked without a pause."""
    with Proxy(server.url) as proxy:
        client = Client(proxy.url)
        peer = Peer(client, expiration_time=1)
        client.release(peer.id)
        peer.start_heartbeat()
        wait_until(lambda: ("PUT", f"/peers/{peer.id}") in proxy.requests)
        time.sleep(0.5)
        peer.stop_heartbeat()

        assert len(proxy.requests) < 20
