"""`Peer`, `PeerWithHeartbeat` and `Heartbeat`: for those who keep the books themselves."""

import copy
import pickle
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from helpers import in_background, wait_until
from observing import peers
from throttle_client import (
    Client,
    Heartbeat,
    InvalidUrl,
    LockLost,
    Peer,
    PeerWithHeartbeat,
    Refused,
    UnknownSemaphore,
    lock,
)
from throttle_client.testing import Server

KINDS = [Peer, PeerWithHeartbeat]


@pytest.fixture
def client(server: Server) -> Client:
    """Talk to a server."""
    return Client(server.url)


def known(server: Server) -> dict[int, dict[str, int]]:
    """Ask the server for its peers: what they hold, by their ids."""
    return {peer["id"]: peer["acquired"] for peer in peers(server.url)}


@pytest.mark.parametrize("kind", KINDS)
def test_new_peer_is_made_at_the_server(server: Server, kind: type[Peer]) -> None:
    """It exists there from the beginning, holds nothing, and has a lease of five minutes."""
    made = [kind(Client(server.url)), kind.from_server_url(server.url)]

    assert {peer.id: {} for peer in made} == known(server)
    assert all(type(peer) is kind and not peer.has_acquired() for peer in made)
    assert {timedelta(minutes=5)} == {peer.expiration_time for peer in made}
    assert [server.url] * 2 == [peer.client.base_url for peer in made]


@pytest.mark.parametrize("expiration_time", [timedelta(minutes=2), 120, 120.0])
def test_peer_has_the_lease_that_was_asked_for(
    server: Server, client: Client, expiration_time: timedelta | float
) -> None:
    """Its length goes to the server with each renewal."""
    peer = Peer(client, expiration_time=expiration_time)
    peer.heartbeat()

    (at_server,) = peers(server.url)
    assert timedelta(minutes=2) == peer.expiration_time
    assert 60_000 < int(at_server["expires_in"].removesuffix("ms")) <= 120_000


@pytest.mark.parametrize("expiration_time", [0, -1, timedelta(0), float("inf"), float("nan")])
def test_peer_without_a_proper_lease_is_refused(
    server: Server, client: Client, expiration_time: timedelta | float
) -> None:
    """The error names the argument; nothing is made."""
    with pytest.raises(ValueError, match="expiration_time must be"):
        Peer(client, expiration_time=expiration_time)

    assert {} == known(server)


def test_peer_of_a_bad_url_is_refused() -> None:
    """A URL without a scheme is an error at once."""
    with pytest.raises(InvalidUrl):
        Peer.from_server_url("localhost:8000")


def test_peer_that_exists_can_be_taken_over(server: Server, client: Client) -> None:
    """With id and locks, nothing is made; it goes on as that peer."""
    peer_id = client.new_peer(60)
    client.acquire(peer_id, "high")

    peer = Peer(client, peer_id, {"high": 1}, timedelta(minutes=1))
    peer.heartbeat()
    acquired = peer.acquire("A", 2)

    assert acquired
    assert peer_id == peer.id
    assert {"high": 1, "A": 2} == peer.acquired
    assert {peer_id: {"high": 1, "A": 2}} == known(server)


@pytest.mark.parametrize("kind", KINDS)
def test_acquire_and_release_keep_the_books(server: Server, kind: type[Peer]) -> None:
    """What is acquired is in `acquired`, what is released is not; the peer itself stays."""
    peer = kind.from_server_url(server.url)

    results = [peer.acquire("high"), peer.acquire("A", 2), peer.acquire("A", 2)]
    held = [dict(peer.acquired), known(server)[peer.id]]
    peer.release("A")
    left = [dict(peer.acquired), known(server)[peer.id]]
    peer.release("A")
    peer.release("high")

    assert [True] * 3 == results
    assert [{"high": 1, "A": 2}] * 2 == held
    assert [{"high": 1}] * 2 == left
    assert not peer.has_acquired()
    assert {peer.id: {}} == known(server)


def test_acquire_does_not_wait_by_itself(server: Server, client: Client) -> None:
    """A lock that is not free stays pending; asked again, it is acquired when its turn comes."""
    holder, peer = Peer(client), Peer(client)
    holder.acquire("mutex")

    results = [peer.acquire("mutex"), peer.acquire("mutex", block_for=0.05)]
    books, pending = dict(peer.acquired), not client.is_acquired(peer.id)
    holder.release("mutex")
    results.append(peer.acquire("mutex"))

    assert [False, False, True] == results
    assert {} == books
    assert pending
    assert {"mutex": 1} == peer.acquired


def test_acquire_blocks_until_it_is_granted(server: Server, client: Client) -> None:
    """`block_for` is how long the server may wait for the grant."""
    holder, peer = Peer(client), Peer(client)
    holder.acquire("mutex")
    waiting = in_background(lambda: peer.acquire("mutex", block_for=timedelta(seconds=20)))
    wait_until(lambda: not client.is_acquired(peer.id))

    holder.remove_from_server()

    assert waiting.result(10)
    assert {"mutex": 1} == peer.acquired


def test_release_withdraws_a_pending_ask(server: Server, client: Client) -> None:
    """Who no longer waits is not in the way of the others."""
    holder, peer = Peer(client), Peer(client)
    holder.acquire("mutex")
    peer.acquire("mutex")

    peer.release("mutex")

    assert client.is_acquired(peer.id)
    holder.release("mutex")
    assert 1 == client.remainder("mutex")


def test_refusals_change_no_books(server: Server, client: Client) -> None:
    """What was not acquired is not in `acquired`."""
    peer = Peer(client)
    peer.acquire("middle")

    with pytest.raises(Refused) as caught:
        peer.acquire("high")
    with pytest.raises(UnknownSemaphore):
        peer.acquire("nope")

    assert "level_violation" == caught.value.code
    assert {"middle": 1} == peer.acquired == known(server)[peer.id]


@pytest.mark.parametrize("block_for", [-1, float("nan"), "5s", True])
def test_acquire_refuses_what_is_no_duration(client: Client, block_for: Any) -> None:
    """The error names the argument."""
    peer = Peer(client)

    with pytest.raises((ValueError, TypeError), match="block_for must be"):
        peer.acquire("A", block_for=block_for)

    assert {} == peer.acquired


def test_removed_peer_begins_a_new_life(server: Server, client: Client) -> None:
    """It is gone with its locks; removing it again is quiet; the next lock is that of a new id."""
    peer = Peer(client)
    peer.acquire("A", 2)
    first_id = peer.id

    peer.remove_from_server()
    peer.remove_from_server()
    gone, books = known(server), dict(peer.acquired)
    acquired = peer.acquire("mutex")

    assert ({}, {}) == (gone, books)
    assert acquired
    assert first_id != peer.id
    assert {peer.id: {"mutex": 1}} == known(server)


def test_heartbeat_after_a_restart_restores(server: Server, client: Client) -> None:
    """The new start of the server knows the peer again, with its locks and their tokens."""
    peer = Peer(client)
    peer.acquire("high")
    peer.acquire("A", 3)
    (before,) = peers(server.url)

    server.kill()
    server.start()
    peer.heartbeat()

    (after,) = peers(server.url)
    assert (before["id"], before["acquired"]) == (after["id"], after["acquired"])
    assert before["tokens"] == after["tokens"]


def test_acquire_after_a_restart_restores(server: Server, client: Client) -> None:
    """Asking for one more lock brings the others back first."""
    peer = Peer(client)
    peer.acquire("high")

    server.kill()
    server.start()
    acquired = peer.acquire("A")

    assert acquired
    assert {peer.id: {"high": 1, "A": 1}} == known(server)


def test_released_lock_is_not_restored(server: Server, client: Client) -> None:
    """What was given back before a restart does not come back with it."""
    peer = Peer(client)
    peer.acquire("high")
    peer.acquire("A")
    peer.release("A")

    server.kill()
    server.start()
    peer.restore()

    assert {peer.id: {"high": 1}} == known(server)


def test_peer_without_locks_is_made_anew_after_a_restart(server: Server, client: Client) -> None:
    """It has nothing to restore, and nothing to lose."""
    peer = Peer(client)

    server.kill()
    server.start()
    peer.heartbeat()
    acquired = peer.acquire("A")

    assert acquired
    assert {peer.id: {"A": 1}} == known(server)


@pytest.mark.parametrize("peer_id", [0, 7, 2**53, 2**64 - 1])
def test_id_that_the_server_takes_from_nobody_is_replaced(
    server: Server, client: Client, peer_id: int
) -> None:
    """A peer that is unknown and holds nothing is made anew, also if its id cannot be chosen.

    A server of version 0.5.13 draws ids up to 2^64 - 1.
    """
    peer = Peer(client, peer_id)

    acquired = peer.acquire("A")

    assert acquired
    assert {peer.id: {"A": 1}} == known(server)


@pytest.mark.parametrize("use", [Peer.heartbeat, lambda peer: peer.acquire("B")])
def test_released_peer_has_lost_its_locks(
    server: Server, client: Client, use: Callable[[Peer], object]
) -> None:
    """Under the same start of the server, what is gone may be somebody else's: nothing is taken."""
    peer = Peer(client)
    peer.acquire("middle")
    client.release(peer.id)

    with pytest.raises(LockLost, match="`middle`"):
        use(peer)

    assert {} == known(server)


def test_expired_copy_takes_nothing_from_others(server: Server, client: Client) -> None:
    """A pickled peer whose lease has ended meanwhile has lost its locks, in the copy as well."""
    peer = Peer(client, expiration_time=1)
    peer.acquire("mutex")
    travelling = pickle.dumps(peer)
    wait_until(lambda: known(server) == {})
    other = Peer(client)
    other.acquire("mutex")

    arrived = pickle.loads(travelling)

    with pytest.raises(LockLost):
        arrived.heartbeat()
    assert {other.id: {"mutex": 1}} == known(server)


def test_copy_of_a_released_peer_has_lost_its_locks(server: Server, client: Client) -> None:
    """A copy knows under which start of the server it had its lease, and restores nothing there."""
    peer = Peer(client)
    peer.acquire("mutex")
    travelling = pickle.dumps(peer)
    client.release(peer.id)
    other = Peer(client)
    other.acquire("mutex")

    arrived = pickle.loads(travelling)

    with pytest.raises(LockLost):
        arrived.heartbeat()
    assert {other.id: {"mutex": 1}} == known(server)


@pytest.mark.parametrize("travel", [lambda peer: pickle.loads(pickle.dumps(peer)), copy.copy])
@pytest.mark.parametrize("kind", KINDS)
def test_peer_travels(server: Server, kind: type[Peer], travel: Callable[[Peer], Peer]) -> None:
    """The copy has the same id, locks and lease, and acts for the same peer."""
    peer = kind(Client(server.url), expiration_time=timedelta(minutes=1))
    if isinstance(peer, PeerWithHeartbeat):
        peer.heartbeat_interval = timedelta(seconds=7)
    peer.acquire("high", 2)

    arrived = travel(peer)
    arrived.heartbeat()
    arrived.acquire("A")

    assert kind is type(arrived)
    assert peer.id == arrived.id
    assert peer.expiration_time == arrived.expiration_time
    assert peer.heartbeat_interval == arrived.heartbeat_interval
    assert server.url == arrived.client.base_url
    assert {"high": 2, "A": 1} == arrived.acquired
    assert {"high": 2} == peer.acquired
    assert {peer.id: {"high": 2, "A": 1}} == known(server)


def test_travelled_peer_restores_with_its_tokens(server: Server, client: Client) -> None:
    """After a restart, the copy brings the peer back as the original would."""
    peer = Peer(client)
    peer.acquire("A", 2)
    (before,) = peers(server.url)
    arrived = pickle.loads(pickle.dumps(peer))

    server.kill()
    server.start()
    arrived.heartbeat()

    (after,) = peers(server.url)
    assert (before["id"], before["tokens"]) == (after["id"], after["tokens"])


@pytest.mark.parametrize("travel", [pickle.dumps, copy.copy, copy.deepcopy])
def test_what_cannot_travel_says_so(server: Server, travel: Callable[[object], object]) -> None:
    """A lease, a lock and a heartbeat belong to their process."""
    manager = lock(server.url, "A")

    with manager as lease:
        heartbeat = Heartbeat(lease)
        for thing, name in [(lease, "Lease"), (manager, "lock"), (heartbeat, "Heartbeat")]:
            with pytest.raises(TypeError, match=f"{name}.* cannot be pickled"):
                travel(thing)
        lease.check()


def test_repr_tells_who_holds_what(server: Server) -> None:
    """Id, server and locks, without credentials."""
    peer = Peer.from_server_url(server.url.replace("http://", "http://user:s3cret@"))
    peer.acquire("A", 2)

    assert f"<Peer {peer.id} at {server.url} holds {{'A': 2}}>" == repr(peer)
