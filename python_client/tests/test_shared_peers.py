"""What several users share, threads or blocks: a peer, its watch, and the object `lock` returns."""

import gc
import threading
import weakref
from collections.abc import Callable

import pytest

from helpers import in_background, wait_until
from observing import peers
from proxy import Proxy
from rivals import known
from throttle_client import Client, Lease, LockLost, Peer, lock
from throttle_client._durations import now
from throttle_client._timer import Entry, Timer
from throttle_client.testing import Server

LEASE = 0.8


def test_lock_that_a_thread_waits_for_outlives_that_of_another(server: Server) -> None:
    """Whoever leaves its block does not end the peer, nor its heartbeats, for the one who waits."""
    peer = Peer(Client(server.url), expiration_time=LEASE)
    got = threading.Event()

    def hold() -> bool:
        with lock(peer, "mutex") as lease:
            got.set()
            was_lost = lease.lost.wait(1.6 * LEASE)
            assert {"mutex": lease.token} == known(server)[lease.id]["tokens"]
            return was_lost

    with lock(server.url, "mutex"):
        with lock(peer, "high") as first:
            held = in_background(hold)
            wait_until(lambda: known(server)[first.id]["pending"])
        assert not got.is_set()

    assert held.result(10) is False
    wait_until(lambda: [] == peers(server.url))


def test_inner_lock_is_renewed_under_one_without_heartbeats(server: Server) -> None:
    """If one of two nested locks wants heartbeats, they are sent."""
    with (
        lock(server.url, "high", expires_in=LEASE, heartbeat_interval=None, raise_if_lost=False),
        lock(server.url, "A", raise_if_lost=False) as inner,
    ):
        was_lost = inner.lost.wait(1.6 * LEASE)

    assert not was_lost


def test_shortest_interval_of_nested_locks_counts(proxy: Proxy) -> None:
    """An inner lock may want more heartbeats than the outer one, whose peer it shares."""
    with (
        lock(proxy.url, "high", expires_in=60) as outer,
        lock(proxy.url, "A", heartbeat_interval=0.1),
    ):
        beat = "PUT", f"/peers/{outer.id}"
        asks = proxy.requests.count(beat)

        wait_until(lambda: proxy.requests.count(beat) >= asks + 3, 5)


def test_what_a_peer_acquired_inside_a_block_is_renewed_after_it(server: Server) -> None:
    """It is not lost although the block began the heartbeats; `stop_heartbeat` ends them."""
    peer = Peer(Client(server.url), expiration_time=LEASE)

    with lock(peer, "high"):
        assert peer.acquire("A")

    assert not peer.holding.lost.wait(1.6 * LEASE)
    assert {"A": 1} == known(server)[peer.id]["acquired"]
    peer.stop_heartbeat()
    wait_until(lambda: [] == peers(server.url), 3 * LEASE)


def test_heartbeat_without_a_server_and_without_locks_does_not_hurry(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to lose, so nobody looks at the clock again and again."""
    looks: list[float] = []
    at = Timer.at

    def count(timer: Timer, when: float, call: Callable[[], None]) -> Entry:
        looks.append(when)
        return at(timer, when, call)

    peer = Peer(Client(server.url), expiration_time=0.3)
    server.kill()
    wait_until(lambda: peer.holding.left() < -0.1)
    monkeypatch.setattr(Timer, "at", count)

    peer.start_heartbeat()

    began_at = now()
    wait_until(lambda: now() - began_at > 0.6)
    peer.stop_heartbeat()
    assert 1 <= len(looks) < 60


def test_lock_of_two_threads_is_not_left_by_a_third(server: Server) -> None:
    """Nobody can tell whose block is meant; nobody's lock is given back."""
    shared = lock(server.url, "A")
    leave = threading.Event()
    leases: list[Lease] = []

    def stay() -> None:
        with shared as lease:
            leases.append(lease)
            assert leave.wait(10)
            lease.check()

    stays = [in_background(stay), in_background(stay)]
    wait_until(lambda: len(leases) == 2)

    with pytest.raises(RuntimeError, match="several others have entered this lock"):
        shared.__exit__(None, None, None)

    assert {lease.id for lease in leases} == known(server).keys()
    leave.set()
    for stayed in stays:
        stayed.result(10)
    assert [] == peers(server.url)


def test_outer_lock_keeps_nothing_of_inner_ones(server: Server) -> None:
    """The callback of an inner lock can be collected once its block was left."""

    def nest() -> "weakref.ref[Callable[[Lease], None]]":
        def on_lost(lease: Lease) -> None:
            pass

        with lock(server.url, "A", on_lost=on_lost):
            return weakref.ref(on_lost)

    with lock(server.url, "high"):
        callback = nest()
        gc.collect()

        assert callback() is None


def test_lease_acquires_nothing_after_its_block(server: Server) -> None:
    """Nothing would renew it, and nobody would give it back."""
    with lock(server.url, "high") as lease:
        pass

    with pytest.raises(LockLost, match="given it back already"):
        lease.acquire("A")

    assert [] == peers(server.url)


def test_lease_of_an_inner_block_acquires_nothing_after_it(server: Server) -> None:
    """Its peer lives on, but that is the business of the outer lock."""
    with lock(server.url, "high"), lock(server.url, "middle"):
        pass
    with lock(server.url, "high") as outer:
        with lock(server.url, "middle") as inner:
            pass

        with pytest.raises(LockLost, match="given it back already"):
            inner.acquire("A")

        assert {"high": 1} == known(server)[outer.id]["acquired"]


def test_block_whose_peer_was_removed_by_hand_is_left_quietly(server: Server) -> None:
    """Who releases the peer inside the block knows that, and has lost nothing."""
    with lock(server.url, "A") as lease:
        lease.remove_from_server()

        assert [] == peers(server.url)

    with lock(server.url, "A") as again:
        again.check()
        assert again.id != lease.id
