"""Processes of `multiprocessing`, forked or spawned: what they may do, and what to send them."""

import multiprocessing
import os
import pickle
import warnings
from multiprocessing.connection import Connection
from typing import Any

import pytest

from observing import peers
from throttle_client import Client, Lease, Peer, lock
from throttle_client.testing import Server

CHILD_SECONDS = 20


def hold_in_child(url: str, talk: Connection) -> None:
    """Hold a lock as long as the parent wishes, and tell it the id of the peer."""
    with lock(url, "A") as lease:
        talk.send(lease.id)
        talk.recv()


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_process_of_multiprocessing_locks_for_itself(server: Server, method: str) -> None:
    """However it was started."""
    context: Any = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    with lock(server.url, "A") as lease, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        process = context.Process(target=hold_in_child, args=(server.url, theirs), daemon=True)
        process.start()
        theirs.close()
        assert ours.poll(CHILD_SECONDS)

        held = {peer["id"] for peer in peers(server.url)}

        assert {lease.id, ours.recv()} == held
        ours.send("go on")
        process.join(CHILD_SECONDS)
        assert [lease.id] == [peer["id"] for peer in peers(server.url)]
    assert 0 == process.exitcode


def act_in_child(peer: Peer, client: Client, talk: Connection) -> None:
    """Act on behalf of the peer of the parent."""
    peer.heartbeat()
    with lock(peer, "A") as lease:
        talk.send((lease.id, peer.acquired, client.remainder("A")))


def test_pickled_peer_acts_for_its_original(server: Server) -> None:
    """A process that is spawned may renew it and nest in it, and takes nothing away at its end."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    peer = Peer.from_server_url(server.url)
    with lock(peer, "middle") as lease:
        process = context.Process(target=act_in_child, args=(peer, peer.client, theirs))
        process.daemon = True
        process.start()
        theirs.close()
        assert ours.poll(CHILD_SECONDS)

        assert (lease.id, {"middle": 1, "A": 1}, 4) == ours.recv()
        process.join(CHILD_SECONDS)
        (left,) = peers(server.url)
        lease.check()
    assert 0 == process.exitcode
    assert {"middle": lease.token} == left["tokens"]


def restore_in_child(peer: Peer, talk: Connection) -> None:
    """Bring the peer of the parent back."""
    peer.heartbeat()
    talk.send(str(os.getpid()))


def test_pickled_peer_says_which_process_restored_it(server: Server) -> None:
    """Name and labels that were given stay; the process id is that of whoever answers for it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    peer = Peer(Client(server.url), name="me", labels={"job": "nightly"})
    peer.acquire("A")
    (before,) = peers(server.url)
    server.kill()
    server.start()

    process = context.Process(target=restore_in_child, args=(peer, theirs), daemon=True)
    process.start()
    theirs.close()
    assert ours.poll(CHILD_SECONDS)

    (after,) = peers(server.url)
    assert str(os.getpid()) == before["labels"]["pid"]
    assert {**before["labels"], "pid": ours.recv()} == after["labels"]
    assert (before["id"], "me") == (after["id"], after["name"])
    process.join(CHILD_SECONDS)


def test_lease_cannot_be_sent_to_another_process(server: Server) -> None:
    """It says so, and what to do instead."""
    context = multiprocessing.get_context("spawn")
    with lock(server.url, "A") as lease:
        with pytest.raises(TypeError, match="cannot be pickled"):
            context.Process(target=Lease.check, args=(lease,)).start()

        lease.check()


def test_peer_that_is_pickled_after_its_life_begins_another_one(server: Server) -> None:
    """An id is not used again once it was released, neither by the original nor by a copy."""
    peer = Peer.from_server_url(server.url)
    with lock(peer, "A"):
        pass

    released = peer.id

    copy = pickle.loads(pickle.dumps(peer))

    with lock(copy, "A") as theirs, lock(peer, "A") as ours:
        assert {theirs.id, ours.id} == {each["id"] for each in peers(server.url)}
        assert released not in {theirs.id, ours.id}
    assert [] == peers(server.url)
