"""A lock is kept while answers get lost, given back where nobody listens, and waits its turn."""

import time

import pytest

from helpers import in_background, wait_until
from observing import peers
from proxy import Proxy
from rivals import beats, known, occupy, rival
from throttle_client import Client, Lease, Timeout, lock
from throttle_client.testing import Server, StartServer

LEASE = 1.0


def assert_kept(server: Server, lease: Lease) -> None:
    """Ask both sides whether it is still held."""
    lease.check()
    assert {"mutex": lease.token} == known(server)[lease.id]["tokens"]


def test_lock_is_kept_while_answers_to_heartbeats_are_lost(server: Server, proxy: Proxy) -> None:
    """A heartbeat without an answer is sent again, soon."""
    with lock(proxy.url, "mutex", expires_in=LEASE) as lease:
        proxy.drop_answers(2)
        wait_until(lambda: beats(proxy, lease) >= 3)
        assert not lease.at_risk

        assert not lease.lost.wait(0.7 * LEASE)
        assert_kept(server, lease)


def test_lock_is_kept_while_its_connections_are_cut(server: Server, proxy: Proxy) -> None:
    """A connection that was kept alive and is gone is made anew."""
    with lock(proxy.url, "mutex", heartbeat_interval=0.1) as lease:
        for _ in range(5):
            proxy.cut()
            proxy.requests.clear()
            wait_until(lambda: beats(proxy, lease))

        assert_kept(server, lease)
    assert {} == known(server)


def test_lock_is_kept_while_answers_are_late(server: Server, proxy: Proxy) -> None:
    """A slow network costs nothing but time."""
    proxy.delay(0.05)
    with lock(proxy.url, "mutex", expires_in=LEASE) as lease:
        assert not lease.lost.wait(1.3 * LEASE)

        assert_kept(server, lease)


def test_lock_is_kept_while_the_server_cannot_be_reached_for_a_while(
    server: Server, proxy: Proxy
) -> None:
    """Heartbeats are tried again and again, and get through once they can."""
    with lock(proxy.url, "mutex", expires_in=3 * LEASE) as lease:
        proxy.refuse()
        refused = proxy.connections
        wait_until(lambda: proxy.connections >= refused + 2)
        proxy.pass_on()
        wait_until(lambda: beats(proxy, lease))

        assert_kept(server, lease)


@pytest.mark.parametrize("lost_answers", [1, 2, 3])
def test_release_whose_answer_is_lost_is_no_loss(
    server: Server, proxy: Proxy, lost_answers: int
) -> None:
    """Giving back is repeated, and a peer that is gone by then was given back the first time."""
    with lock(proxy.url, "mutex"):
        proxy.drop_answers(lost_answers)

    assert {} == known(server)


def test_inner_release_whose_answer_is_lost_keeps_the_outer_lock(
    server: Server, proxy: Proxy
) -> None:
    """Giving back an inner lock is repeated as well."""
    with lock(proxy.url, "high") as high:
        with lock(proxy.url, "A"):
            proxy.drop_answers(1)

        assert {"high": 1} == known(server)[high.id]["acquired"]
        high.check()


def test_leaving_is_quick_where_the_server_does_not_answer(server: Server, proxy: Proxy) -> None:
    """After two seconds the block ends; the lock is given back as soon as that gets through."""
    with lock(proxy.url, "mutex"):
        proxy.hang()
        began_at = time.monotonic()
    took = time.monotonic() - began_at
    assert known(server)
    proxy.pass_on()

    assert took < 4
    wait_until(lambda: not known(server))


def test_leaving_is_immediate_where_the_server_is_gone(server: Server) -> None:
    """Nobody waits for a server that refuses connections."""
    with lock(server.url, "mutex"):
        server.kill()
        began_at = time.monotonic()

    assert time.monotonic() - began_at < 1


def test_server_that_is_full_is_asked_again_later(throttle_server: StartServer) -> None:
    """A 503 is waited out, for as long as the server asks for."""
    server = throttle_server({"mutex": 1}, extra="[limits]\nmax_waiters = 1")
    client, holder = Client(server.url), occupy(server)
    granted = rival(server, lambda: True)

    with Proxy(server.url) as proxy:
        began_at = time.monotonic()
        entered = in_background(lock(proxy.url, "mutex", timeout=30).__enter__)
        wait_until(lambda: proxy.requests)
        client.release(holder)
        assert granted.result(10)
        (waiter,) = known(server)
        client.release(waiter)

        assert entered.result(15).token
        assert 5 <= time.monotonic() - began_at
        assert 2 == len(proxy.requests)


def test_server_that_is_full_for_too_long_is_a_timeout(throttle_server: StartServer) -> None:
    """The server asks to come back later than the timeout allows: nobody waits for longer."""
    server = throttle_server({"mutex": 1}, extra="[limits]\nmax_peers = 1")
    Client(server.url).new_peer(60)
    began_at = time.monotonic()

    with pytest.raises(Timeout), lock(server.url, "mutex", timeout=0.5):
        pass

    assert 0.5 <= time.monotonic() - began_at < 3
    assert 1 == len(peers(server.url))
