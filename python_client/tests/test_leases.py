"""A lease is renewed while its lock is held or waited for, and at no more cost than needed."""

import random
import threading
import time

import pytest

from helpers import in_background, wait_until
from proxy import Proxy
from rivals import beats, known, occupy, rival
from throttle_client import Client, lock
from throttle_client.testing import Server

LEASE = 1.0
# A beat is due after a third of the lease, up to a fifth of that earlier.
SOONEST_BEAT = 0.8 / 3


def test_lock_is_kept_for_three_leases_under_a_busy_main_thread(server: Server) -> None:
    """Heartbeats get through however little the main thread lets others run."""
    with lock(server.url, "mutex", expires_in=LEASE) as lease:
        granted = rival(server, lambda: True)
        until = time.monotonic() + 3 * LEASE
        while time.monotonic() < until:
            # One call of C, which lets no other thread run for some milliseconds.
            sum(range(1_000_000))

        lease.check()
        assert {"mutex": lease.token} == known(server)[lease.id]["tokens"]
        assert not granted.done()

    assert granted.result(10)


def test_lock_is_kept_whose_heartbeat_interval_is_as_long_as_its_lease(
    server: Server, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """An interval that comes too late, the default of earlier versions, does no harm."""
    began_at = time.monotonic()
    with lock(proxy.url, "mutex", expires_in=LEASE, heartbeat_interval=LEASE) as lease:
        wait_until(lambda: beats(proxy, lease) >= 4)

        assert time.monotonic() - began_at < 2.5 * LEASE
        assert {"mutex": lease.token} == known(server)[lease.id]["tokens"]
        lease.check()
    assert [] == caplog.records


def test_first_heartbeat_goes_after_a_third_of_the_lease(proxy: Proxy) -> None:
    """Beats are neither sent all the time nor put off until the lease is about to end."""
    began_at = time.monotonic()

    with lock(proxy.url, "A", expires_in=1.5) as lease:
        wait_until(lambda: beats(proxy, lease))
        took = time.monotonic() - began_at

    assert 1.5 * SOONEST_BEAT <= took < 1.0


def test_nested_locks_share_one_heartbeat(proxy: Proxy) -> None:
    """However many locks nest in a peer, it is renewed once an interval."""
    interval = 0.1
    with (
        lock(proxy.url, "high", heartbeat_interval=interval) as lease,
        lock(proxy.url, "middle", heartbeat_interval=interval),
        lock(proxy.url, "A", heartbeat_interval=interval),
    ):
        began_at, at_first = time.monotonic(), beats(proxy, lease)
        wait_until(lambda: beats(proxy, lease) - at_first >= 5)
        sent, took = beats(proxy, lease) - at_first, time.monotonic() - began_at

    assert sent <= took / (0.8 * interval) + 1
    assert {f"/peers/{lease.id}"} == {path for verb, path in proxy.requests if verb == "PUT"}


def test_outer_lock_is_renewed_after_an_inner_one_was_given_back(proxy: Proxy) -> None:
    """The heartbeat goes on until the last lock of the peer has gone."""
    with lock(proxy.url, "high", heartbeat_interval=0.1) as lease:
        with lock(proxy.url, "A"):
            pass
        at_first = beats(proxy, lease)

        wait_until(lambda: beats(proxy, lease) >= at_first + 3)


def test_no_heartbeat_goes_after_the_lock_was_given_back(proxy: Proxy) -> None:
    """Nobody renews the lease of a peer that is gone."""
    with lock(proxy.url, "A", heartbeat_interval=0.1) as lease:
        wait_until(lambda: beats(proxy, lease))

    # Three intervals, in which a beat that is on its way may arrive, but no further one.
    at_last = beats(proxy, lease)
    time.sleep(0.3)

    assert beats(proxy, lease) - at_last <= 1


def test_short_locks_send_two_requests_each_over_one_connection(proxy: Proxy) -> None:
    """A lock that is given back soon costs two round trips, and no connection of its own."""
    expected = []
    for _ in range(5):
        with lock(proxy.url, "A") as lease:
            expected += [("POST", "/new_peer"), ("DELETE", f"/peers/{lease.id}")]

    assert expected == proxy.requests
    assert 1 == proxy.connections


def test_short_nested_locks_send_two_requests_each_over_one_connection(proxy: Proxy) -> None:
    """Nesting takes no further requests."""
    with lock(proxy.url, "high") as lease, lock(proxy.url, "middle"), lock(proxy.url, "A"):
        pass

    path = f"/peers/{lease.id}"
    expected = [("POST", "/new_peer"), ("PUT", path), ("PUT", path)]
    expected += [("DELETE", f"{path}/A"), ("DELETE", f"{path}/middle"), ("DELETE", path)]
    assert expected == proxy.requests
    assert 1 == proxy.connections


def test_short_locks_start_no_threads(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one thread of the timer serves all locks of the process."""
    started = []
    start = threading.Thread.start

    def note_and_start(thread: threading.Thread) -> None:
        started.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", note_and_start)

    for _ in range(20):
        with lock(server.url, "high"), lock(server.url, "A"):
            pass

    assert started in ([], ["throttle-timer"])


def test_waiter_keeps_its_place_for_longer_than_its_lease(server: Server) -> None:
    """Whoever waits is renewed by its waiting, and nobody gets ahead of it."""
    holder = occupy(server)

    def wait() -> int:
        with lock(server.url, "mutex", expires_in=LEASE) as lease:
            assert not behind.done()
            return lease.id

    waited = in_background(wait)
    wait_until(lambda: len(known(server)) == 2)
    (waiter,) = known(server).keys() - {holder}
    behind = rival(server, lambda: True)
    time.sleep(1.2 * LEASE)
    Client(server.url).release(holder)

    assert waiter == waited.result(10)
    assert behind.result(10)


def test_seeded_random_numbers_stay_as_they_are(server: Server) -> None:
    """A program that seeds the common generator gets the same numbers with and without locks."""
    random.seed(42)
    expected = random.random()

    random.seed(42)
    with lock(server.url, "A", expires_in=0.6) as lease:
        granted_at = lease.holding.renewed_at
        wait_until(lambda: lease.holding.renewed_at > granted_at)

    assert expected == random.random()
