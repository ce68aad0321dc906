"""The published server 0.5.13 forgets in a restart, does not answer, or makes way for ours."""

import threading
import time
from collections.abc import Iterator

import pytest

from classic import Classic
from helpers import in_background, wait_until
from observing import Inside, peers
from rivals import losing
from throttle_client import Client, LockLost, Peer, Timeout, UnknownPeer, lock
from throttle_client.testing import Server


@pytest.fixture
def classic(server: Server) -> Iterator[Classic]:
    """Start a server of the old kind."""
    with Classic(server.url) as classic:
        yield classic


def known(server: Server) -> dict[int, dict[str, int]]:
    """Ask the server for its peers: what they hold, by their ids."""
    return {peer["id"]: peer["acquired"] for peer in peers(server.url)}


def restart(server: Server) -> None:
    """End the server and start it again, without its memory."""
    server.kill()
    server.start()


def test_heartbeat_restores_after_a_restart(server: Server, classic: Classic) -> None:
    """As long as the lease is good by our own clock, the peer comes back with its locks."""
    with lock(classic.url, "high", heartbeat_interval=0.1), lock(classic.url, "A", 2) as lease:
        restart(server)

        wait_until(lambda: known(server) == {lease.id: {"high": 1, "A": 2}})
        lease.check()

    assert {} == known(server)


def test_next_lock_restores_after_a_restart(server: Server, classic: Classic) -> None:
    """An inner lock brings the outer one back first."""
    with lock(classic.url, "high", 2, heartbeat_interval=None) as outer:
        restart(server)

        with lock(classic.url, "A", timeout=5) as inner:
            held = known(server)
        outer.check()
        after = known(server)

    assert outer.id == inner.id
    assert {outer.id: {"high": 2, "A": 1}} == held
    assert {outer.id: {"high": 2}} == after
    assert {} == known(server)


def test_leaving_after_a_restart_is_quiet(server: Server, classic: Classic) -> None:
    """What the server forgot need not be given back."""
    with lock(classic.url, "A", heartbeat_interval=None):
        restart(server)

    assert {} == known(server)


def test_waiter_goes_on_after_a_restart(server: Server, classic: Classic) -> None:
    """It asks again, and gets its turn."""

    def wait() -> dict[int, dict[str, int]]:
        with lock(classic.url, "mutex", timeout=30) as lease:
            assert lease.id in known(server)
            return known(server)

    Peer(Client(server.url)).acquire("mutex")
    waiting = in_background(wait)
    wait_until(lambda: any(peer["pending"] for peer in peers(server.url)))

    restart(server)

    assert [{"mutex": 1}] == list(waiting.result(20).values())
    assert {} == known(server)


def test_lease_ends_by_our_own_clock(server: Server, classic: Classic) -> None:
    """That server says nothing of leases, so their length counts from when we last asked."""
    began_at = time.monotonic()
    with losing(lock(classic.url, "A", expires_in=0.8, heartbeat_interval=None)) as lease:
        lease.check()
        lost = lease.lost.wait(10)
        elapsed = time.monotonic() - began_at
        with pytest.raises(LockLost, match="`A`"):
            lease.check()

    assert lost
    assert elapsed >= 0.7
    wait_until(lambda: {} == known(server))


def test_lost_lease_is_not_restored(server: Server, classic: Classic) -> None:
    """A server that was away for too long does not get the locks back: they may be another's."""
    with losing(lock(classic.url, "mutex", expires_in=0.8)) as lease:
        server.kill()
        assert lease.lost.wait(10)
        server.start()
        other = Peer(Client(server.url))

        assert other.acquire("mutex")
        with pytest.raises(LockLost):
            lease.heartbeat()
        # In the background as well, nobody tries.
        time.sleep(0.3)

    assert {other.id: {"mutex": 1}} == known(server)


def test_lock_is_kept_for_longer_than_its_lease(server: Server, classic: Classic) -> None:
    """Heartbeats renew it there as well."""
    with lock(classic.url, "A", expires_in=0.8) as lease:
        until = time.monotonic() + 1.8
        while time.monotonic() < until:
            assert {lease.id: {"A": 1}} == known(server)
            lease.check()
            time.sleep(0.02)

    assert {} == known(server)


def test_crowd_never_exceeds_max(server: Server, classic: Classic) -> None:
    """Many threads begin at once with a server that turns out to be classic."""
    client, inside = Client(classic.url), Inside()
    start = threading.Barrier(8)

    def compete() -> None:
        start.wait(10)
        for _ in range(3):
            with lock(client, "mutex", timeout=30), inside:
                assert [{"mutex": 1}] == [held for held in known(server).values() if held]

    for competitor in [in_background(compete) for _ in range(8)]:
        competitor.result(30)

    assert (1, 24) == (inside.most, inside.entries)
    wait_until(lambda: {} == known(server))


def upgrade(server: Server, classic: Classic) -> None:
    """Replace the server of the old kind by one of ours, which has not its memory."""
    server.kill()
    classic.upgrade()
    server.start()


def test_held_lock_survives_the_upgrade(server: Server, classic: Classic) -> None:
    """A heartbeat brings it to the new server; from then on, nothing stands back."""
    client = Client(classic.url)
    with lock(client, "high", heartbeat_interval=0.1) as outer:
        upgrade(server, classic)
        wait_until(lambda: known(server) == {outer.id: {"high": 1}})

        outer.check()
        with lock(client, {"A": 2, "mutex": 1}, timeout=5) as inner:
            held = known(server)
            inner.check()
        after = known(server)

    assert {outer.id: {"high": 1, "A": 2, "mutex": 1}} == held
    assert {outer.id: {"high": 1}} == after
    assert inner.token is not None
    assert {} == known(server)


def test_inner_lock_survives_the_upgrade(server: Server, classic: Classic) -> None:
    """The first request to the new server may be that of an inner lock."""
    client = Client(classic.url)
    with lock(client, "high", heartbeat_interval=None) as outer:
        upgrade(server, classic)

        with lock(client, "A", timeout=5):
            held = known(server)

    assert {outer.id: {"high": 1, "A": 1}} == held
    assert {} == known(server)


@pytest.mark.parametrize("semaphores", ["A", {"A": 1, "mutex": 1}])
@pytest.mark.parametrize("timeout", [0, 5])
def test_client_learns_of_the_upgrade(
    server: Server, classic: Classic, semaphores: str | dict[str, int], timeout: float
) -> None:
    """A client that lives on uses the new server as such: tokens, and two requests a lock."""
    client = Client(classic.url)
    with lock(client, "A"):
        pass
    upgrade(server, classic)

    with lock(client, semaphores, timeout=timeout) as first:
        pass
    before = len(classic.requests)
    with lock(client, semaphores, timeout=timeout) as second:
        held = known(server)

    assert first.token is not None
    assert second.token is not None
    assert 2 == len(classic.requests) - before
    assert {second.id: second.semaphores} == held
    assert {} == known(server)


def test_waiter_survives_the_upgrade(server: Server, classic: Classic) -> None:
    """Who waits at the old server gets the lock from the new one."""

    def wait() -> int | None:
        with lock(classic.url, "mutex", timeout=30) as lease:
            assert {lease.id: {"mutex": 1}} == known(server)
            return lease.token

    Peer(Client(server.url)).acquire("mutex")
    waiting = in_background(wait)
    wait_until(lambda: any(peer["pending"] for peer in peers(server.url)))

    upgrade(server, classic)

    assert waiting.result(20) is not None
    assert {} == known(server)


def test_peer_survives_the_upgrade(server: Server, classic: Classic) -> None:
    """A peer that holds nothing takes a new id where the old one is not to be had."""
    peer = Peer(Client(classic.url))
    upgrade(server, classic)

    acquired = peer.acquire("A")

    assert acquired
    assert {peer.id: {"A": 1}} == known(server)


def test_peer_with_locks_survives_the_upgrade(server: Server, classic: Classic) -> None:
    """It is restored under the id that the old server drew."""
    peer = Peer(Client(classic.url))
    peer.acquire("high")
    upgrade(server, classic)

    peer.heartbeat()
    acquired = peer.acquire("A")

    assert acquired
    assert {peer.id: {"high": 1, "A": 1}} == known(server)


def test_held_lock_survives_the_way_back(server: Server, classic: Classic) -> None:
    """If the new server is taken back for the old one, what is held goes on, too."""
    classic.upgrade()
    client = Client(classic.url)
    with lock(client, "high", heartbeat_interval=0.1) as outer:
        server.kill()
        classic.downgrade()
        server.start()
        wait_until(lambda: known(server) == {outer.id: {"high": 1}})

        with lock(client, "A", timeout=5):
            held = known(server)
        outer.check()

    assert {outer.id: {"high": 1, "A": 1}} == held
    assert {} == known(server)


def test_yes_of_a_server_that_overlooks_the_ask_is_no_grant(
    server: Server, classic: Classic
) -> None:
    """A 200 to a heartbeat that carried an ask grants nothing; the lock is asked for again."""
    classic.upgrade()
    client = Client(classic.url)
    with lock(client, "high", heartbeat_interval=None) as outer:
        classic.downgrade()

        with lock(client, "A", timeout=5) as inner:
            held = known(server)

    assert inner.token is None
    assert {outer.id: {"high": 1, "A": 1}} == held
    assert {} == known(server)


def test_yes_of_a_server_that_overlooks_the_ask_is_no_grant_while_it_is_taken(
    server: Server, classic: Classic
) -> None:
    """Nobody enters a block whose lock another one holds."""
    classic.upgrade()
    client, other = Client(classic.url), Peer(Client(server.url))
    other.acquire("mutex")
    with lock(client, "high", heartbeat_interval=None) as outer:
        classic.downgrade()

        with pytest.raises(TimeoutError):
            lock(client, "mutex", timeout=0.3).__enter__()
        outer.check()

    assert {other.id: {"mutex": 1}} == known(server)


@pytest.mark.parametrize(
    ("takes_ids", "headers"),
    [(True, {}), (True, {"Throttle-Instance": "7"}), (False, {"Throttle-Token": "8"})],
    ids=["own id but no token", "even with an instance", "token but another id"],
)
def test_half_a_grant_is_no_grant(
    server: Server, classic: Classic, takes_ids: bool, headers: dict[str, str]
) -> None:
    """A 200 counts with a token and the very id that was chosen; otherwise nothing is held."""
    other = Peer(Client(server.url))
    other.acquire("mutex")
    classic.takes_ids, classic.headers = takes_ids, headers

    with pytest.raises(Timeout):
        lock(classic.url, "mutex", timeout=0.3).__enter__()

    assert {other.id: {"mutex": 1}} == known(server)


def test_released_peer_is_unknown(server: Server, classic: Classic) -> None:
    """The stand-in says so in words, which the client understands."""
    client = Client(classic.url)
    peer = client.new_peer(60)
    client.release(peer)

    with pytest.raises(UnknownPeer):
        client.acquire(peer, "A")

    assert {} == known(server)
