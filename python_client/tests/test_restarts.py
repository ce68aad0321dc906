"""A server that is restarted gets back what is held; what has ended is never taken again."""

import time
from urllib.request import Request, urlopen

import pytest

from helpers import in_background, wait_until
from observing import peers
from proxy import Proxy
from rivals import known, losing, occupy, rival
from throttle_client import Client, Lease, LockLost, Peer, Timeout, UnknownPeer, lock
from throttle_client.testing import Server

# Beats go after a third of it.
LEASE = 1.5


def restart(server: Server) -> None:
    """Let the server lose its memory."""
    server.kill()
    server.start()


def restores(proxy: Proxy) -> int:
    """Count the requests that restore a peer."""
    return proxy.requests.count(("POST", "/restore"))


def test_lock_is_restored_after_a_restart(server: Server) -> None:
    """The peer comes back with its id, its name, its lock and its token, and goes on."""
    with lock(server.url, "B", count=3, expires_in=LEASE, name="backup") as lease:
        before = known(server)
        restart(server)
        wait_until(lambda: peers(server.url))
        after = known(server)

        lease.check()
        for peer in (*before.values(), *after.values()):
            # The server tells since when it knows of a lock.
            del peer["expires_in"], peer["since"]
        assert before == after
        assert {"B": lease.token} == after[lease.id]["tokens"]

    assert {} == known(server)


def test_lock_outlives_a_server_that_is_down_for_a_while(server: Server, proxy: Proxy) -> None:
    """As long as the lease lasts the client goes on trying, and renews what it restored."""
    with lock(proxy.url, "mutex", expires_in=LEASE) as lease:
        server.kill()
        connections = proxy.connections
        wait_until(lambda: proxy.connections >= connections + 2)
        server.start()

        assert not lease.lost.wait(0.8 * LEASE)
        assert {"mutex": lease.token} == known(server)[lease.id]["tokens"]


def test_lock_outlives_two_restarts(server: Server) -> None:
    """What was restored is restored again."""
    with lock(server.url, "mutex", heartbeat_interval=0.1) as lease:
        for _ in range(2):
            restart(server)
            wait_until(lambda: lease.id in known(server))

        lease.check()
        assert {"mutex": lease.token} == known(server)[lease.id]["tokens"]


def test_nested_locks_are_restored_together(server: Server) -> None:
    """All that a peer holds comes back, each lock with its own token."""
    with (
        lock(server.url, "high", heartbeat_interval=0.1) as high,
        lock(server.url, {"A": 2, "B": 1}) as low,
    ):
        restart(server)
        wait_until(lambda: high.id in known(server))

        peer = known(server)[high.id]
        assert {"high": 1, "A": 2, "B": 1} == peer["acquired"]
        assert {"high": high.token, "A": low.token, "B": low.token} == peer["tokens"]

    assert {} == known(server)


def test_token_of_a_grant_after_a_restart_is_greater(server: Server) -> None:
    """Who comes after a restored lock outranks it."""
    with lock(server.url, "A", heartbeat_interval=0.1) as lease:
        restart(server)
        wait_until(lambda: lease.id in known(server))
        outer = lease.token
    with lock(server.url, "A") as lease:
        later = lease.token

    assert outer is not None
    assert later is not None
    assert outer < later


def test_restart_that_nobody_notices_is_no_loss(server: Server) -> None:
    """Leaving the block is quiet where the server forgot the peer in a restart."""
    with lock(server.url, "A"):
        restart(server)

    assert {} == known(server)


def test_restart_that_an_inner_lock_notices_first_loses_no_outer_one(server: Server) -> None:
    """Giving back the inner lock restores the outer ones, and not the inner."""
    with lock(server.url, "high") as high:
        with lock(server.url, "A"):
            restart(server)

        peer = known(server)[high.id]
        assert {"high": 1} == peer["acquired"]
        assert {"high": high.token} == peer["tokens"]
        high.check()

    assert {} == known(server)


def test_inner_ask_after_a_restart_restores_the_outer_lock_first(server: Server) -> None:
    """Whoever asks for an inner lock holds the outer one at the restarted server as well."""
    with lock(server.url, "high") as high:
        restart(server)
        with lock(server.url, "A") as low:
            peer = known(server)[high.id]

    assert {"high": 1, "A": 1} == peer["acquired"]
    assert {"high": high.token, "A": low.token} == peer["tokens"]


def test_waiter_goes_on_waiting_after_a_restart(server: Server, proxy: Proxy) -> None:
    """An ask that the server forgot is asked again, and granted in its turn."""
    client, holder = Client(server.url), occupy(server)

    def wait() -> Lease:
        with lock(proxy.url, "mutex", timeout=30, expires_in=0.9) as lease:
            return lease

    granted = in_background(wait)
    # The first ask was answered, and the next one waits.
    wait_until(lambda: any(verb == "PUT" for verb, _ in proxy.requests))
    # Nobody gets ahead of the holder, who comes back first.
    proxy.refuse()
    restart(server)
    client.restore(holder, {"mutex": 1}, 60)
    proxy.pass_on()

    wait_until(lambda: any(peer["pending"] for peer in peers(server.url)))
    assert not granted.done()
    client.release(holder)
    assert granted.result(10).token


def test_waiter_with_an_outer_lock_goes_on_waiting_after_a_restart(
    server: Server, proxy: Proxy
) -> None:
    """The outer lock is restored, and the inner ask waits again."""
    client, holder = Client(server.url), occupy(server)

    def wait() -> tuple[Lease, Lease]:
        with lock(proxy.url, "high") as high, lock(proxy.url, "mutex") as low:
            return high, low

    granted = in_background(wait)
    wait_until(lambda: any(peer["pending"] for peer in peers(server.url)))
    proxy.refuse()
    restart(server)
    client.restore(holder, {"mutex": 1}, 60)
    proxy.pass_on()

    wait_until(lambda: any(peer["pending"] for peer in peers(server.url)))
    (waiter,) = (peer for peer in peers(server.url) if peer["pending"])
    client.release(holder)
    high, low = granted.result(10)
    assert high.id == low.id == waiter["id"]
    assert {"high": high.token} == waiter["tokens"]


def test_timeout_holds_across_a_restart(server: Server, proxy: Proxy) -> None:
    """Whoever has to wait again does not wait for longer than agreed."""
    client, holder = Client(server.url), occupy(server)
    began_at = time.monotonic()
    waited = in_background(lock(proxy.url, "mutex", timeout=1).__enter__)
    wait_until(lambda: len(peers(server.url)) == 2)
    proxy.refuse()
    restart(server)
    client.restore(holder, {"mutex": 1}, 60)
    proxy.pass_on()

    with pytest.raises(Timeout):
        waited.result(10)

    assert 1 <= time.monotonic() - began_at < 4
    wait_until(lambda: known(server).keys() == {holder})


def test_timeout_holds_where_the_server_is_gone_for_good(server: Server, proxy: Proxy) -> None:
    """Whoever waited at a server that is down by now gets a `Timeout`, in time."""
    occupy(server)
    began_at = time.monotonic()
    waited = in_background(lock(proxy.url, "mutex", timeout=1, expires_in=0.9).__enter__)
    # The first ask was answered, and the next one waits.
    wait_until(lambda: any(verb == "PUT" for verb, _ in proxy.requests))
    server.kill()

    with pytest.raises(Timeout):
        waited.result(10)

    assert 1 <= time.monotonic() - began_at < 4


def test_peer_released_by_hand_is_lost_with_the_next_heartbeat(
    server: Server, proxy: Proxy
) -> None:
    """Under the same start of the server nothing is restored; whoever held it is told."""
    told: list[Lease] = []
    held = lock(proxy.url, "mutex", heartbeat_interval=0.1, on_lost=told.append)
    with losing(held) as lease:
        granted = rival(server, lambda: True)
        Client(server.url).release(lease.id)

        assert lease.lost.wait(10)
        wait_until(lambda: told)
        with pytest.raises(LockLost):
            lease.check()
        assert granted.result(10)

    assert [lease] == told
    assert 0 == restores(proxy)
    assert lease.id not in known(server)


def test_peer_released_by_hand_is_lost_when_its_block_ends(server: Server, proxy: Proxy) -> None:
    """Without a heartbeat in between, giving the lock back tells."""
    with losing(lock(proxy.url, "A")) as lease:
        Client(server.url).release(lease.id)

    assert lease.lost
    assert 0 == restores(proxy)


def test_peer_released_by_hand_is_lost_when_an_inner_lock_is_given_back(
    server: Server, proxy: Proxy
) -> None:
    """The inner lock tells, and so does the outer one."""
    with losing(lock(proxy.url, "high")) as high:
        with losing(lock(proxy.url, "A")):
            Client(server.url).release(high.id)
        with pytest.raises(LockLost):
            high.check()

    assert 0 == restores(proxy)


def test_peer_released_by_hand_gets_no_inner_lock(server: Server, proxy: Proxy) -> None:
    """An inner ask notices that the outer lock was lost, and takes nothing."""
    with losing(lock(proxy.url, "high")) as high:
        Client(server.url).release(high.id)

        with pytest.raises(LockLost), lock(proxy.url, "A"):
            pass

        assert {} == known(server)
    assert 0 == restores(proxy)


def test_waiter_released_by_hand_asks_again(server: Server, proxy: Proxy) -> None:
    """A peer that holds nothing has lost nothing, and queues anew."""
    client, holder = Client(server.url), occupy(server)

    def wait() -> Lease:
        with lock(proxy.url, "mutex", timeout=30) as lease:
            return lease

    granted = in_background(wait)
    wait_until(lambda: len(peers(server.url)) == 2)
    asks = proxy.requests.count(("POST", "/new_peer"))
    (waiter,) = known(server).keys() - {holder}
    client.release(waiter)

    wait_until(lambda: proxy.requests.count(("POST", "/new_peer")) > asks)
    client.release(holder)
    assert granted.result(10).token


def test_revoked_peer_is_lost_and_not_restored(server: Server, proxy: Proxy) -> None:
    """What the operator took away stays away."""
    with losing(lock(proxy.url, "mutex", heartbeat_interval=0.1)) as lease:
        revoke = Request(f"{server.url}/peers/{lease.id}?revoke=true", method="DELETE")
        with urlopen(revoke, timeout=10) as answer:
            assert 200 == answer.status

        assert lease.lost.wait(10)

    assert 0 == restores(proxy)
    assert {} == known(server)


def test_revoked_peer_cannot_be_restored_by_hand(server: Server) -> None:
    """A restore that the server refuses is a loss."""
    peer = Peer(Client(server.url))
    peer.acquire("mutex")
    revoke = Request(f"{server.url}/peers/{peer.id}?revoke=true", method="DELETE")
    with urlopen(revoke, timeout=10) as answer:
        assert 200 == answer.status

    with pytest.raises(LockLost):
        peer.restore()

    assert {} == known(server)


def test_lock_that_expired_while_the_server_was_down_is_never_restored(
    server: Server, proxy: Proxy
) -> None:
    """After the end of the lease by our own clock the lock may be somebody else's."""
    with losing(lock(proxy.url, "mutex", expires_in=0.6)) as lease:
        server.kill()
        assert lease.lost.wait(10)
        server.start()
        with pytest.raises(LockLost):
            lease.heartbeat()

    # The lock is given back all the same, in the background: for the client cannot know.
    wait_until(lambda: ("DELETE", f"/peers/{lease.id}") in proxy.requests)
    assert 0 == restores(proxy)
    assert {} == known(server)


def test_token_that_the_server_takes_for_one_of_the_future_is_left_behind(
    server: Server,
) -> None:
    """Where the clock of the server was set back, the lock comes back without its token."""
    peer = Peer(Client(server.url), 2**40, {"A": 2})
    peer.holding.tokens["A"] = 2**53 - 1

    peer.restore()

    restored = known(server)[2**40]
    assert {"A": 2} == restored["acquired"]
    assert {} == restored["tokens"]


def test_lock_that_was_given_back_is_not_restored(server: Server, proxy: Proxy) -> None:
    """A server that restarts later gets back what is held then, and nothing else."""
    with lock(proxy.url, "high", heartbeat_interval=0.1) as high:
        with lock(proxy.url, "A"):
            pass
        restart(server)
        wait_until(lambda: high.id in known(server))

        assert {"high": 1} == known(server)[high.id]["acquired"]

    with pytest.raises(UnknownPeer):
        Client(server.url).is_acquired(high.id)
