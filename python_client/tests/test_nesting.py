"""Locks that nest in one thread belong to one peer; threads and servers have peers of their own."""

import threading
from collections.abc import Iterator
from functools import partial

import pytest

from helpers import in_background, wait_until
from observing import peers
from proxy import Proxy
from throttle_client import (
    Client,
    Peer,
    PeerWithHeartbeat,
    Refused,
    Timeout,
    UnknownSemaphore,
    clear_peers,
    get_local_peer,
    init_peers,
    lock,
    set_local_peer,
    threadlocal,
)
from throttle_client.testing import Server, StartServer


@pytest.fixture(autouse=True)
def _no_peers() -> Iterator[None]:
    """Begin and end each test without peers of this thread."""
    clear_peers()
    yield
    clear_peers()


@pytest.fixture
def client(server: Server) -> Client:
    """Talk to a server."""
    return Client(server.url)


def test_nested_locks_belong_to_one_peer(server: Server) -> None:
    """The server sees one peer, with all of the locks, so that it can check the levels."""
    with (
        lock(server.url, "high", 2) as outer,
        lock(server.url, "middle") as middle,
        lock(server.url, "A", 3) as inner,
    ):
        (known,) = peers(server.url)
        ids = [outer.id, middle.id, inner.id]

    assert [known["id"]] * 3 == ids
    assert {"high": 2, "middle": 1, "A": 3} == known["acquired"]
    assert [] == peers(server.url)


def test_nested_lock_costs_two_requests(server: Server) -> None:
    """One to take it, one to give it back, as any other."""
    with Proxy(server.url) as proxy:
        with lock(proxy.url, "high"), lock(proxy.url, "A"):
            pass

        assert 4 == len(proxy.requests)
        assert ["POST", "PUT", "DELETE", "DELETE"] == [method for method, _ in proxy.requests]


def test_each_nested_lock_has_its_own_token(server: Server) -> None:
    """The inner grant is later; each lease tells its own token and semaphores, and all it holds."""
    with lock(server.url, "high") as outer, lock(server.url, {"A": 1, "B": 2}) as inner:
        (known,) = peers(server.url)
        held = dict(outer.acquired)

    assert outer.token is not None
    assert inner.token is not None
    assert outer.token < inner.token
    assert {"high": outer.token, "A": inner.token, "B": inner.token} == known["tokens"]
    assert [{"high": 1}, {"A": 1, "B": 2}] == [outer.semaphores, inner.semaphores]
    assert {"high": 1, "A": 1, "B": 2} == held


def test_inner_lock_is_given_back_before_the_outer_one(server: Server, client: Client) -> None:
    """Leaving the inner block gives back the inner lock alone; another may follow it."""
    with lock(server.url, "high") as outer:
        with lock(server.url, "A", 2) as first:
            pass
        between = [client.remainder("A"), client.remainder("high")]
        with lock(server.url, "A", 3):
            within = client.remainder("A")
        outer.check()

    assert [5, 1] == between
    assert 2 == within
    assert first.is_given_back
    assert [5, 2] == [client.remainder("A"), client.remainder("high")]


def test_several_semaphores_nest(server: Server, client: Client) -> None:
    """What is asked for together goes back together, and leaves the outer lock alone."""
    with lock(server.url, "high"):
        with lock(server.url, {"middle": 1, "A": 2, "mutex": 1}, timeout=0):
            (known,) = peers(server.url)
        (after,) = peers(server.url)

    assert {"high": 1, "middle": 1, "A": 2, "mutex": 1} == known["acquired"]
    assert {"high": 1} == after["acquired"]
    assert [2, 5, 1] == [client.remainder(name) for name in ("middle", "A", "mutex")]


@pytest.mark.parametrize("inner", ["high", "B"])
def test_wrong_order_is_refused(server: Server, client: Client, inner: str) -> None:
    """Going up, or staying at a level, may deadlock: it is a `ValueError`; the outer lock stays."""
    outer_name = "middle" if inner == "high" else "A"
    with lock(server.url, outer_name) as outer:
        with pytest.raises(Refused, match="Lock hierarchy violation") as caught:
            lock(server.url, inner).__enter__()

        outer.check()
        (known,) = peers(server.url)

    assert ("level_violation", 409) == (caught.value.code, caught.value.status)
    assert isinstance(caught.value, ValueError)
    assert {outer_name: 1} == known["acquired"]
    assert {} == known["pending"]
    assert [] == peers(server.url)
    assert 2 == client.remainder("high")


def test_refused_inner_lock_is_not_in_the_way_of_the_next(server: Server, client: Client) -> None:
    """After a refusal, an inner lock in the right order is granted, and all is given back."""
    with lock(server.url, "middle"):
        for wrong in ("high", "nope"):
            with pytest.raises((Refused, UnknownSemaphore)):
                lock(server.url, wrong).__enter__()

        with lock(server.url, "A", timeout=0):
            assert 4 == client.remainder("A")

    assert [] == peers(server.url)


@pytest.mark.parametrize("timeout", [0, 0.3])
def test_inner_timeout_leaves_the_outer_lock(
    server: Server, client: Client, timeout: float
) -> None:
    """Only the inner ask is withdrawn."""
    with lock(Peer(client), "mutex"), lock(server.url, "high") as outer:
        with pytest.raises(Timeout):
            lock(server.url, "mutex", timeout=timeout).__enter__()

        outer.check()
        (known,) = [peer for peer in peers(server.url) if peer["id"] == outer.id]
        with lock(server.url, "A", timeout=0):
            pass

    assert ({"high": 1}, {}) == (known["acquired"], known["pending"])
    assert [] == peers(server.url)


@pytest.mark.parametrize("semaphores", ["A", {"A": 1}, {"mutex": 1, "A": 2}])
def test_same_semaphore_is_an_error_before_any_request(
    server: Server, client: Client, semaphores: str | dict[str, int]
) -> None:
    """It would wait for itself; nothing is sent, and the outer lock stays."""
    with Proxy(server.url) as proxy, lock(proxy.url, "A") as outer:
        with pytest.raises(ValueError, match="holds a lock of `A` already") as caught:
            lock(proxy.url, semaphores, timeout=0).__enter__()
        requests = len(proxy.requests)
        outer.check()
        left = client.remainder("A")

    assert not isinstance(caught.value, Refused)
    assert 1 == requests
    assert 4 == left
    assert [] == peers(server.url)


def test_threads_have_peers_of_their_own(server: Server) -> None:
    """Two threads do not share levels: one may go up while the other holds something lower."""
    with lock(server.url, "A") as low:

        def go_up() -> tuple[int, int]:
            with lock(server.url, "high") as high, lock(server.url, "A"):
                return high.id, len(peers(server.url))

        high_id, count = in_background(go_up).result(10)

    assert low.id != high_id
    assert 2 == count


def test_servers_nest_independently(server: Server, throttle_server: StartServer) -> None:
    """Levels are those of one server; locks of another one are another peer's."""
    other = throttle_server({"A": 1, "high": (1, 2)})

    with lock(server.url, "A") as here, lock(other.url, "high") as there:
        with lock(other.url, "A", timeout=0) as inner:
            ids = [inner.id, there.id]
        known = [peer["id"] for peer in peers(server.url) + peers(other.url)]

    assert [there.id, there.id] == ids
    assert [here.id, there.id] == known
    assert [] == peers(server.url) + peers(other.url)


def test_url_and_client_and_slash_mean_the_same_server(server: Server) -> None:
    """However the server is named, locks in one thread nest."""
    with (
        lock(server.url, "high") as first,
        lock(Client(server.url), "middle") as second,
        lock(server.url + "/", "A") as third,
    ):
        count = len(peers(server.url))

    assert 1 == count
    assert [first.id] * 2 == [second.id, third.id]
    assert [] == peers(server.url)


def test_lock_of_a_peer_does_not_nest_in_that_of_the_thread(server: Server) -> None:
    """Who brings a peer means that peer: it may hold the same semaphore beside the thread's."""
    own = Peer.from_server_url(server.url)

    with lock(server.url, "A") as outer, lock(own, "A", timeout=0) as inner:
        count = len(peers(server.url))

    assert 2 == count
    assert outer.id != inner.id
    assert [] == peers(server.url)


def test_locks_of_one_peer_nest(server: Server) -> None:
    """With a `Peer` given, nesting follows that peer."""
    own = Peer.from_server_url(server.url)

    with lock(own, "high"), lock(own, "A"):
        (known,) = peers(server.url)
        with pytest.raises(ValueError, match="holds a lock of `A` already"):
            lock(own, "A").__enter__()

    assert {"high": 1, "A": 1} == known["acquired"]
    assert [] == peers(server.url)


def test_exception_gives_all_of_them_back(server: Server) -> None:
    """An error deep inside passes through all blocks."""
    error = KeyError("deep inside")

    with pytest.raises(KeyError), lock(server.url, "high"), lock(server.url, "A"):
        raise error

    assert [] == peers(server.url)
    assert {} == threadlocal.peers


def test_outer_block_may_be_left_first(server: Server, client: Client) -> None:
    """Blocks that overlap instead of nesting give back what is theirs, each at its time."""
    outer, inner = lock(server.url, "high"), lock(server.url, "A")
    outer.__enter__()
    inner_lease = inner.__enter__()

    outer.__exit__(None, None, None)

    inner_lease.check()
    assert [2, 4] == [client.remainder("high"), client.remainder("A")]
    inner.__exit__(None, None, None)
    assert [] == peers(server.url)
    assert {} == threadlocal.peers


def test_local_peer_inside_a_block_is_the_one_that_holds(server: Server) -> None:
    """What users of the published versions ask for inside a block; outside, it is forgotten."""
    with lock(server.url, "high") as lease:
        peer = get_local_peer(server.url)
        inside = [peer.id, dict(peer.acquired)]
        with_slash = get_local_peer(server.url + "/")
        with lock(server.url, "A"):
            nested = dict(get_local_peer(server.url).acquired)

    assert [lease.id, {"high": 1}] == inside
    assert peer is with_slash
    assert {"high": 1, "A": 1} == nested
    assert {} == threadlocal.peers
    assert [] == peers(server.url)


def test_local_peer_outside_is_made_once(server: Server) -> None:
    """Without a block there is one as well; a lock that follows belongs to it, and takes it along.

    It has a lease of its own at the server from then on.
    """
    peer = get_local_peer(server.url)
    again = get_local_peer(server.url)
    (known,) = peers(server.url)

    with lock(server.url, "A") as lease:
        pass

    assert peer is again
    assert isinstance(peer, PeerWithHeartbeat)
    assert [known["id"]] * 2 == [peer.id, lease.id]
    assert {} == threadlocal.peers
    assert [] == peers(server.url)


def test_local_peer_can_be_set(server: Server) -> None:
    """The locks of the thread belong to it from then on, until the last of them is given back."""
    own, other = Peer(Client(server.url), expiration_time=30), Peer(Client(server.url))

    replaced = [set_local_peer(server.url, other), set_local_peer(server.url, own)]
    current = get_local_peer(server.url)
    with lock(server.url, "high") as first, lock(server.url, "A") as second:
        ids = [first.id, second.id]
        length = first.expiration_time.total_seconds()
    with lock(server.url, "A") as third:
        pass

    assert [None, other] == replaced
    assert own is current
    assert [first.id] * 2 == ids
    assert 30 == length
    assert third.id != first.id
    assert [other.id] == [peer["id"] for peer in peers(server.url)]


def test_clear_peers_forgets_without_giving_back(server: Server) -> None:
    """The thread begins anew; what it had stays at the server, and in the hands of whoever has it.

    The block that holds still gives back its own.
    """
    with lock(server.url, "A") as first:
        clear_peers()
        with lock(server.url, "high") as second:
            known = {peer["id"] for peer in peers(server.url)}
        first.check()

    assert {first.id, second.id} == known
    assert [] == peers(server.url)


def test_clear_peers_inside_a_block_loses_no_lease(server: Server) -> None:
    """The same lock object, entered again after that, still knows both of its leases."""
    manager = lock(server.url, "A")

    with manager as first:
        clear_peers()
        with manager as second:
            pass
        given_back = [first.is_given_back, second.is_given_back]

    assert [False, True] == given_back
    assert [] == peers(server.url)


def test_init_peers_keeps_the_peers_that_are_there(server: Server) -> None:
    """Published, it prepares the thread if nothing is prepared; it never forgot a peer."""
    init_peers()

    with lock(server.url, "high") as outer:
        init_peers()
        with lock(server.url, "A") as inner:
            pass

    assert outer.id == inner.id
    assert {} == threadlocal.peers


def test_peers_of_a_thread_are_seen_by_that_thread_alone(server: Server) -> None:
    """`threadlocal.peers` of another thread is empty, and clearing it changes nothing here."""
    with lock(server.url, "A") as lease:

        def look() -> dict[str, Peer]:
            seen = dict(threadlocal.peers)
            clear_peers()
            return seen

        seen = in_background(look).result(10)
        mine = get_local_peer(server.url).id

    assert {} == seen
    assert lease.id == mine


def test_nested_lock_waits_beside_other_threads(server: Server) -> None:
    """Threads that hold the high level and wait for the low one get their turns, all of them."""
    done: list[int] = []
    both_hold = threading.Barrier(2)

    def work(number: int) -> None:
        with lock(server.url, "high"):
            both_hold.wait(10)
            with lock(server.url, "mutex"):
                done.append(number)

    workers = [in_background(partial(work, number)) for number in range(2)]
    for worker in workers:
        worker.result(20)

    assert [0, 1] == sorted(done)
    wait_until(lambda: [] == peers(server.url))
