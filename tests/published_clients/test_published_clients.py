"""The published Python clients work against this server, unmodified, and so does our own.

The module tests the version of `throttle-client` that it is run with: one virtual environment for
each `requirements-*.txt`, and `THROTTLE_BIN=path/to/throttle pytest tests/published_clients`. Where
the versions differ, the difference is detected, never guessed from a version number. What the
server does beyond the needs of these clients is tested elsewhere.
"""

import importlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import pytest

from .conftest import Server, StartServer

# Imported by name, so that a type checker does not look for another package of that name.
throttle_client: Any = importlib.import_module("throttle_client")

# The later version keeps a peer for each thread and URL, the earlier one is handed its peer.
# Ours does both, and is run with both.
LOCKS_BY_URL = (
    hasattr(throttle_client, "set_local_peer") and os.environ.get("THROTTLE_LOCK_BY") != "peer"
)
HAS_REMOVE_EXPIRED = hasattr(throttle_client.Client, "remove_expired")
# Our own client serves all of these flows, but for a few that are wrong.
IS_OURS = hasattr(throttle_client, "LockLost")

# Semaphores that every test has: name, max and level.
SEMAPHORES = {
    "mutex": (1, 0),
    "pool": (5, 0),
    "middle": (2, 1),
    "high": (2, 2),
}
# Names that both versions spell so that a server can tell what is meant.
NAMES = [
    "two words",
    'a "quoted" name',
    "Zähler",
    "量",
    "🚦",
    "100%",
    "is_acquired",
    "~._-",
    "new\nline",
]
# Names that only the later version encodes; the earlier one sends them as parts of the URL.
ENCODED_NAMES = ["a/b", "/a", "a//b", "a/../b", "a?b", "a#b", "a&b=c", "a+b", "a;b", "%41", "%2F"]

LONG = timedelta(minutes=5)
SHORT = timedelta(milliseconds=800)
HEARTBEAT = timedelta(milliseconds=100)
# Longer than the four seconds for which the clients wait before they repeat a failed request.
PATIENCE_SECONDS = 15.0
UNKNOWN_PEER_ID = 4242

# The clients repeat failed requests for ever; a broken server must not hang the test run.
pytestmark = pytest.mark.timeout(40)

T = TypeVar("T")


class LockingPeer:
    """A peer, and the way in which this version of the client takes locks with it.

    As with the clients themselves, locks in one thread nest: two peers that hold locks at the same
    time need two threads, see `Holder`.
    """

    def __init__(
        self,
        url: str,
        expires_in: timedelta = LONG,
        heartbeat_interval: timedelta | None = None,
    ) -> None:
        """Register a peer, which sends heartbeats while it holds locks if an interval is given."""
        client = throttle_client.Client(url)
        if LOCKS_BY_URL and heartbeat_interval is not None:
            self.peer = throttle_client.PeerWithHeartbeat(
                client=client, expiration_time=expires_in, heartbeat_interval=heartbeat_interval
            )
        else:
            self.peer = throttle_client.Peer(client=client, expiration_time=expires_in)
        self._url = url
        self._heartbeat_interval = heartbeat_interval

    @property
    def id(self) -> int:
        """The id by which the server knows the peer."""
        return int(self.peer.id)

    @contextmanager
    def lock(self, semaphore: str, **arguments: Any) -> Iterator[None]:
        """Hold a lock, as the `lock` of the client does it."""
        if IS_OURS:
            # It keeps alive what it holds unless it is told not to.
            arguments["heartbeat_interval"] = self._heartbeat_interval
        if LOCKS_BY_URL:
            throttle_client.set_local_peer(self._url, self.peer)
            lock = throttle_client.lock(self._url, semaphore, **arguments)
        else:
            arguments["heartbeat_interval"] = self._heartbeat_interval
            lock = throttle_client.lock(self.peer, semaphore, **arguments)
        with lock:
            yield


class Holder:
    """A peer that takes a lock in a thread of its own, and keeps it until it is told otherwise."""

    def __init__(self, peer: LockingPeer, semaphore: str, count: int = 1) -> None:
        """Ask for the lock and return at once."""
        self.acquired = threading.Event()
        self._release = threading.Event()
        self._done = in_background(lambda: self._hold(peer, semaphore, count))

    def release(self) -> None:
        """Give the lock back, and raise what went wrong in the thread."""
        self._release.set()
        self._done.result(PATIENCE_SECONDS)

    def wait_until_acquired(self) -> None:
        """Wait for the lock."""
        assert self.acquired.wait(PATIENCE_SECONDS), "the lock is not acquired"

    def _hold(self, peer: LockingPeer, semaphore: str, count: int) -> None:
        with peer.lock(semaphore, count=count):
            self.acquired.set()
            assert self._release.wait(2 * PATIENCE_SECONDS)


@pytest.fixture
def server(start_server: StartServer) -> Server:
    """A server with the semaphores that every test has."""
    return start_server(SEMAPHORES)


@pytest.fixture
def client(server: Server) -> Any:
    """The low-level client, connected to the server of the test."""
    return throttle_client.Client(server.url)


@pytest.fixture(autouse=True)
def forget_local_peers() -> None:
    """Let no test inherit the peers that another test left in this thread."""
    if LOCKS_BY_URL:
        throttle_client.clear_peers()


def in_background(call: Callable[[], T]) -> "Future[T]":
    """Run a call in a thread that does not keep the test run alive."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds that only asking the server can tell."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)


def wait_until_pending(client: Any, peer: LockingPeer) -> None:
    """Wait until the server knows that the peer is waiting for a lock."""
    wait_until(lambda: not client.is_acquired(peer.id))


def raises_lock_lost() -> AbstractContextManager[object]:
    """Expect what our own client raises where others are silent."""
    return pytest.raises(throttle_client.LockLost) if IS_OURS else nullcontext()


def is_known(client: Any, peer_id: int) -> bool:
    """Whether the server knows a peer; asking does not renew its lease."""
    try:
        client.is_acquired(peer_id)
    except throttle_client.UnknownPeer:
        return False
    return True


# Locks


def test_lock_is_held_inside_its_block_only(server: Server, client: Any) -> None:
    """A lock takes its permit when its block is entered, and gives it back when it is left."""
    peer = LockingPeer(server.url)

    with peer.lock("mutex"):
        inside = client.remainder("mutex")

    assert 0 == inside
    assert 1 == client.remainder("mutex")


def test_lock_works_with_the_defaults_of_the_client(server: Server, client: Any) -> None:
    """The shortest spelling that the documentation of the client shows takes a lock."""
    url = server.url
    first = url if LOCKS_BY_URL else throttle_client.Peer.from_server_url(url)

    with throttle_client.lock(first, "mutex"):
        inside = client.remainder("mutex")

    assert 0 == inside
    assert 1 == client.remainder("mutex")


def test_lock_is_released_if_its_block_raises(server: Server, client: Any) -> None:
    """An exception leaves the block as it is, and the lock is released."""
    peer = LockingPeer(server.url)

    with pytest.raises(KeyError, match="boom"), peer.lock("mutex"):
        raise KeyError("boom")

    assert 1 == client.remainder("mutex")


def test_peer_is_gone_once_its_last_lock_is_released(server: Server, client: Any) -> None:
    """The client removes the peer with its outermost lock."""
    peer = LockingPeer(server.url)

    with peer.lock("mutex"):
        known_inside = is_known(client, peer.id)

    assert known_inside
    assert not is_known(client, peer.id)


def test_peer_can_lock_again_after_it_was_removed(server: Server, client: Any) -> None:
    """A peer that the server does not know any more restores itself and gets its lock."""
    peer = LockingPeer(server.url)
    with peer.lock("mutex"):
        pass

    with peer.lock("mutex"):
        inside = client.remainder("mutex")

    assert 0 == inside
    assert 1 == client.remainder("mutex")


def test_lock_takes_its_count(server: Server, client: Any) -> None:
    """A lock takes as many permits as it asks for."""
    peer = LockingPeer(server.url)

    with peer.lock("pool", count=3):
        inside = client.remainder("pool")

    assert 2 == inside
    assert 5 == client.remainder("pool")


def test_lock_may_take_all_permits(server: Server, client: Any) -> None:
    """A lock with a count of max is acquired."""
    peer = LockingPeer(server.url)

    with peer.lock("pool", count=5):
        inside = client.remainder("pool")

    assert 0 == inside


def test_peers_share_a_semaphore(server: Server, client: Any) -> None:
    """Two peers hold locks of one semaphore at the same time while both fit."""
    first = Holder(LockingPeer(server.url), "pool", count=2)
    second = Holder(LockingPeer(server.url), "pool", count=3)

    first.wait_until_acquired()
    second.wait_until_acquired()
    while_both_hold = client.remainder("pool")
    first.release()
    second.release()

    assert 0 == while_both_hold
    assert 5 == client.remainder("pool")


def test_locks_of_many_threads_never_exceed_max(server: Server, client: Any) -> None:
    """However many threads compete, what they hold together fits into the semaphore."""
    held, exceeded = [], []

    def compete(count: int) -> None:
        peer = LockingPeer(server.url)
        for _ in range(5):
            with peer.lock("pool", count=count):
                held.append(count)
                exceeded.append(sum(held) > 5)
                held.remove(count)

    competitors = [in_background(partial(compete, count)) for count in 2 * [1, 2, 3, 5]]
    for competitor in competitors:
        competitor.result(PATIENCE_SECONDS)

    assert 8 * 5 * [False] == exceeded
    assert 5 == client.remainder("pool")


@pytest.mark.parametrize("count", [0, -1])
def test_lock_of_no_permits_raises(server: Server, count: int) -> None:
    """A count below 1 is refused with the server's explanation."""
    peer = LockingPeer(server.url)

    with pytest.raises(ValueError) as raised, peer.lock("pool", count=count):
        pass

    assert f"Lock count must be a positive number. Found: {count}." == str(raised.value)


def test_lock_above_max_raises(server: Server) -> None:
    """A count that can never fit is refused at once instead of waiting for ever."""
    peer = LockingPeer(server.url)

    with pytest.raises(ValueError) as raised, peer.lock("pool", count=6):
        pass

    assert str(raised.value).startswith("Lock can never be acquired")


def test_lock_of_unknown_semaphore_raises(server: Server) -> None:
    """A semaphore that is not configured is refused by name."""
    peer = LockingPeer(server.url)

    with pytest.raises(ValueError) as raised, peer.lock("misspelt"):
        pass

    assert "Unknown semaphore" == str(raised.value)


# Levels


def test_locks_nest_from_high_to_low(server: Server, client: Any) -> None:
    """A peer takes locks at lower and lower levels, and releases each with its block."""
    peer = LockingPeer(server.url)

    with peer.lock("high"):
        with peer.lock("middle"):
            with peer.lock("pool", count=2):
                innermost = [client.remainder(name) for name in ("high", "middle", "pool")]
            after_first = [client.remainder(name) for name in ("high", "middle", "pool")]
        after_second = [client.remainder(name) for name in ("high", "middle", "pool")]

    assert [1, 1, 3] == innermost
    assert [1, 1, 5] == after_first
    assert [1, 2, 5] == after_second
    assert 2 == client.remainder("high")


@pytest.mark.parametrize(("outer", "inner"), [("middle", "high"), ("mutex", "pool")])
def test_lock_at_the_same_or_a_higher_level_raises(
    server: Server, client: Any, outer: str, inner: str
) -> None:
    """A lock that could deadlock is refused, and the outer lock stays as it was."""
    peer = LockingPeer(server.url)
    outer_remainder = client.remainder(outer) - 1

    with peer.lock(outer):
        with pytest.raises(ValueError) as raised, peer.lock(inner):
            pass
        remainders = [client.remainder(name) for name in (outer, inner)]

    assert str(raised.value).startswith("Lock hierarchy violation. This may deadlock.")
    assert [outer_remainder, SEMAPHORES[inner][0]] == remainders
    assert outer_remainder + 1 == client.remainder(outer)


# Waiting


def test_lock_waits_until_another_peer_releases(server: Server, client: Any) -> None:
    """A second peer waits, and gets the lock once the first one releases it."""
    first, second = LockingPeer(server.url), LockingPeer(server.url)

    with first.lock("mutex"):
        waiter = Holder(second, "mutex")
        wait_until_pending(client, second)
        acquired_early = waiter.acquired.is_set()
    waiter.wait_until_acquired()
    while_second_holds = client.remainder("mutex")
    waiter.release()

    assert not acquired_early
    assert 0 == while_second_holds
    assert 1 == client.remainder("mutex")


def test_waiting_peers_are_served_in_order(server: Server, client: Any) -> None:
    """Whoever asked first gets the lock first."""
    order: list[int] = []
    peers = [LockingPeer(server.url) for _ in range(4)]

    def take_turn(number: int) -> None:
        with peers[number].lock("mutex"):
            order.append(number)

    turns = []
    with LockingPeer(server.url).lock("mutex"):
        for number, peer in enumerate(peers):
            turns.append(in_background(partial(take_turn, number)))
            wait_until_pending(client, peer)
    for turn in turns:
        turn.result(PATIENCE_SECONDS)

    assert [0, 1, 2, 3] == order


def test_large_lock_is_not_overtaken(server: Server, client: Any) -> None:
    """A small lock that would fit waits behind a large one that does not fit yet."""
    holder, large, small = (LockingPeer(server.url) for _ in range(3))

    with holder.lock("pool", count=3):
        large_lock = Holder(large, "pool", count=4)
        wait_until_pending(client, large)
        small_lock = Holder(small, "pool", count=2)
        wait_until_pending(client, small)
        while_holding = client.remainder("pool")
    large_lock.wait_until_acquired()
    while_large = client.remainder("pool")
    small_is_pending = not client.is_acquired(small.id)
    large_lock.release()
    small_lock.wait_until_acquired()
    while_small = client.remainder("pool")
    small_lock.release()

    assert [2, 1, 3] == [while_holding, while_large, while_small]
    assert small_is_pending


def test_lock_outlives_a_request_that_ends_without_it(server: Server, client: Any) -> None:
    """The client asks again when the server has parked its request long enough.

    The clients let a request wait for five seconds, so this test takes as long.
    """
    first, second, third = client.new_peer(LONG), LockingPeer(server.url), client.new_peer(LONG)
    assert client.acquire(first, "mutex")
    waiter = Holder(second, "mutex")
    wait_until_pending(client, second)

    # The third peer waits behind the second one for longer than one request of the second one.
    third_has_it = client.acquire(third, "mutex", block_for=timedelta(seconds=5.5))
    client.release(first)
    waiter.wait_until_acquired()
    third_waits = not client.is_acquired(third)
    waiter.release()

    assert not third_has_it
    assert third_waits
    assert client.is_acquired(third)


def test_lock_raises_timeout(server: Server, client: Any) -> None:
    """A lock that is not acquired in time raises `Timeout`, not earlier than asked for."""
    timeout = timedelta(milliseconds=300)
    peer = LockingPeer(server.url)
    assert client.acquire(client.new_peer(LONG), "mutex")
    started = time.monotonic()

    with pytest.raises(throttle_client.Timeout), peer.lock("mutex", timeout=timeout):
        pass
    waited_seconds = time.monotonic() - started

    # The client counts in whole milliseconds and rounds what is left down.
    assert 0.25 < waited_seconds < 3
    assert 0 == client.remainder("mutex")


def test_lock_with_timeout_is_acquired_in_time(server: Server, client: Any) -> None:
    """A lock that becomes free before its timeout is acquired."""
    first, second = client.new_peer(LONG), LockingPeer(server.url)
    assert client.acquire(first, "mutex")

    def wait_and_count() -> int:
        with second.lock("mutex", timeout=timedelta(seconds=PATIENCE_SECONDS)):
            return int(client.remainder("mutex"))

    inside = in_background(wait_and_count)
    wait_until_pending(client, second)
    client.release(first)

    assert 0 == inside.result(PATIENCE_SECONDS)


@pytest.mark.skipif(IS_OURS, reason="it withdraws its ask, so that nothing is granted to nobody")
def test_peer_keeps_its_place_after_a_timeout(server: Server, client: Any) -> None:
    """The ask stays pending after `Timeout`, so that the next try of the peer is served first."""
    first, second, third = client.new_peer(LONG), LockingPeer(server.url), client.new_peer(LONG)
    assert client.acquire(first, "mutex")
    with (
        pytest.raises(throttle_client.Timeout),
        second.lock("mutex", timeout=timedelta(milliseconds=50)),
    ):
        pass
    assert not client.acquire(third, "mutex")

    client.release(first)
    with second.lock("mutex"):
        third_waits = not client.is_acquired(third)

    assert third_waits
    assert client.is_acquired(third)


# Leases


def test_heartbeat_keeps_a_lock_beyond_its_lease(server: Server, client: Any) -> None:
    """A peer that sends heartbeats keeps its lock for longer than its lease."""
    peer = LockingPeer(server.url, expires_in=SHORT, heartbeat_interval=HEARTBEAT)

    with peer.lock("mutex"):
        other_has_it = client.acquire(client.new_peer(LONG), "mutex", block_for=2 * SHORT)
        held = client.remainder("mutex")

    assert not other_has_it
    assert 0 == held


def test_heartbeat_keeps_all_locks_of_a_peer(server: Server, client: Any) -> None:
    """The heartbeat of a peer keeps nested locks beyond its lease."""
    peer = LockingPeer(server.url, expires_in=SHORT, heartbeat_interval=HEARTBEAT)
    blocker = client.new_peer(LONG)

    with peer.lock("high", count=2), peer.lock("middle", count=2):
        other_has_it = client.acquire(blocker, "high", block_for=2 * SHORT)
        remainders = [client.remainder(name) for name in ("high", "middle")]

    assert not other_has_it
    assert [0, 0] == remainders


def test_lock_of_a_silent_peer_goes_to_the_next_one(server: Server, client: Any) -> None:
    """A peer without heartbeats loses its lock to the next one when its lease ends, not before."""
    silent, waiter = LockingPeer(server.url, expires_in=SHORT), LockingPeer(server.url)
    started = time.monotonic()

    # Ours says at the end of the block that the lock was lost.
    with raises_lock_lost(), silent.lock("mutex"):
        waiting = Holder(waiter, "mutex")
        waiting.wait_until_acquired()
        waited_seconds = time.monotonic() - started
        silent_is_known = is_known(client, silent.id)
    waiting.release()

    assert SHORT.total_seconds() <= waited_seconds < SHORT.total_seconds() + 3
    assert not silent_is_known
    assert 1 == client.remainder("mutex")


@pytest.mark.skipif(IS_OURS, reason="it takes nothing back that may be somebody else's by now")
def test_expired_peer_comes_back_with_its_locks(server: Server, client: Any) -> None:
    """An expired peer that goes on restores the lock that it believes to hold, beyond max."""
    revenant, successor = LockingPeer(server.url, expires_in=2 * SHORT), client.new_peer(LONG)

    with revenant.lock("high", count=2):
        assert client.acquire(successor, "high", block_for=timedelta(seconds=PATIENCE_SECONDS))
        with revenant.lock("middle"):
            remainders = [client.remainder(name) for name in ("high", "middle")]

    assert [-1, 1] == remainders
    assert 1 == client.remainder("high")


@pytest.mark.skipif(IS_OURS, reason="it says that the lock was lost")
def test_leaving_the_block_of_an_expired_lock_is_quiet(server: Server, client: Any) -> None:
    """The end of a block raises nothing where the server has forgotten the peer already."""
    peer = LockingPeer(server.url, expires_in=SHORT)

    with peer.lock("mutex"):
        wait_until(lambda: not is_known(client, peer.id))

    assert 1 == client.remainder("mutex")


# Restarts of the server


def test_heartbeat_restores_a_lock_after_a_crash(server: Server, client: Any) -> None:
    """A peer that holds a lock while the server crashes has it again, and can release it."""
    peer = LockingPeer(server.url, heartbeat_interval=HEARTBEAT)

    with peer.lock("pool", count=3):
        server.kill()
        server.start()
        wait_until(lambda: client.remainder("pool") == 2)

    assert 5 == client.remainder("pool")
    assert not is_known(client, peer.id)


def test_next_lock_restores_a_peer_after_a_crash(server: Server, client: Any) -> None:
    """A peer without heartbeats has all its locks again as soon as it asks for another one."""
    peer = LockingPeer(server.url)

    with peer.lock("high"), peer.lock("middle", count=2):
        server.kill()
        server.start()
        with peer.lock("mutex"):
            remainders = [client.remainder(name) for name in ("high", "middle", "mutex")]

    assert [1, 0, 0] == remainders
    assert [2, 2, 1] == [client.remainder(name) for name in ("high", "middle", "mutex")]


def test_leaving_the_block_of_a_lost_lock_is_quiet(server: Server, client: Any) -> None:
    """The end of a block raises nothing if the server crashed and knows nothing of the lock."""
    peer = LockingPeer(server.url)

    with peer.lock("mutex"):
        server.kill()
        server.start()

    assert 1 == client.remainder("mutex")
    assert not is_known(client, peer.id)


def test_waiting_peer_asks_again_after_a_crash(server: Server, client: Any) -> None:
    """A peer that waits while the server crashes asks again, and gets the lock in its turn."""
    holder, waiter = LockingPeer(server.url), LockingPeer(server.url)

    with holder.lock("mutex"):
        waiting = Holder(waiter, "mutex")
        wait_until_pending(client, waiter)
        server.kill()
        server.start()
        # The client of the waiter pauses for seconds after an error; the holder is back by then.
        holder.peer.restore()
        wait_until(lambda: is_known(client, waiter.id))
        wait_until_pending(client, waiter)
        acquired_early = waiting.acquired.is_set()
    waiting.wait_until_acquired()
    while_waiter_holds = client.remainder("mutex")
    waiting.release()

    assert not acquired_early
    assert 0 == while_waiter_holds
    assert 1 == client.remainder("mutex")


def test_waiting_peer_asks_again_after_a_shutdown(server: Server, client: Any) -> None:
    """A server shuts down in good order while a peer waits, and serves that peer when it is back.

    Nobody restores the lock that the waiter waited for, so that it does not matter how fast it is.
    """
    waiter = LockingPeer(server.url)
    assert client.acquire(client.new_peer(LONG), "mutex")
    waiting = Holder(waiter, "mutex")
    wait_until_pending(client, waiter)

    exit_code = server.stop()
    server.start()
    waiting.wait_until_acquired()
    while_waiter_holds = client.remainder("mutex")
    waiting.release()

    assert 0 == exit_code
    assert 0 == while_waiter_holds
    assert 1 == client.remainder("mutex")


# Names


@pytest.mark.parametrize("name", NAMES)
def test_name_reaches_its_semaphore(start_server: StartServer, name: str) -> None:
    """A name with characters that are special in URLs or JSON can be used in all calls."""
    assert_name_works(start_server, name)


@pytest.mark.skipif(not LOCKS_BY_URL, reason="this version of the client does not encode names")
@pytest.mark.parametrize("name", ENCODED_NAMES)
def test_encoded_name_reaches_its_semaphore(start_server: StartServer, name: str) -> None:
    """A name that means something else in a URL unless it is encoded can be used in all calls."""
    assert_name_works(start_server, name)


def assert_name_works(start_server: StartServer, name: str) -> None:
    """Use a name in every call that takes one, beside decoys that it must not be mistaken for."""
    decoys = {"A": (7, 0), "a": (7, 0), "b": (7, 0), "/": (7, 0), "a b": (7, 0)}
    server = start_server({**decoys, name: (3, 1)})
    client = throttle_client.Client(server.url)
    first, restored = client.new_peer(LONG), client.new_peer(LONG)

    acquired = client.acquire(first, name, count=2)
    after_acquire = client.remainder(name)
    client.release_lock(first, name)
    after_release = client.remainder(name)
    client.release(restored)
    client.restore(restored, {name: 1}, LONG)
    after_restore = client.remainder(name)
    client.release(restored)
    with LockingPeer(server.url).lock(name, count=3):
        inside = client.remainder(name)

    assert acquired
    assert [1, 3, 2, 0] == [after_acquire, after_release, after_restore, inside]
    assert all(7 == client.remainder(decoy) for decoy in decoys)


# The calls of the low-level client


def test_new_peers_have_distinct_ids(client: Any) -> None:
    """Every new peer gets an id of its own, which fits into a double."""
    ids = [client.new_peer(LONG) for _ in range(20)]

    assert 20 == len(set(ids))
    assert all(1 <= peer_id < 2**53 for peer_id in ids)


@pytest.mark.parametrize("expires_in", [timedelta(milliseconds=60_001), timedelta(days=36_500)])
def test_new_peer_takes_odd_leases(client: Any, expires_in: timedelta) -> None:
    """A lease may be as precise as a millisecond and as long as a century."""
    peer_id = client.new_peer(expires_in)

    assert is_known(client, peer_id)


def test_acquire_says_whether_the_lock_is_acquired(client: Any) -> None:
    """The first peer acquires the lock, the second one is told that it waits."""
    first, second = client.new_peer(LONG), client.new_peer(LONG)

    answers = [client.acquire(first, "mutex"), client.acquire(second, "mutex")]

    assert [True, False] == answers


def test_acquire_is_idempotent(client: Any) -> None:
    """Acquiring again changes nothing and answers the same."""
    first, second = client.new_peer(LONG), client.new_peer(LONG)

    firsts = [client.acquire(first, "pool", count=3) for _ in range(3)]
    seconds = [client.acquire(second, "pool", count=3) for _ in range(3)]

    assert [True] * 3 == firsts
    assert [False] * 3 == seconds
    assert 2 == client.remainder("pool")


def test_acquire_blocks_until_the_lock_is_free(client: Any) -> None:
    """A blocking request is answered as soon as the lock is acquired."""
    first, second = client.new_peer(LONG), client.new_peer(LONG)
    assert client.acquire(first, "mutex")
    block_for = timedelta(seconds=PATIENCE_SECONDS)

    answer = in_background(lambda: client.acquire(second, "mutex", block_for=block_for))
    wait_until(lambda: not client.is_acquired(second))
    client.release_lock(first, "mutex")

    assert answer.result(PATIENCE_SECONDS / 2)


def test_acquire_blocks_no_longer_than_asked_for(client: Any) -> None:
    """A blocking request is answered when its time is over, and the lock stays pending."""
    first, second = client.new_peer(LONG), client.new_peer(LONG)
    assert client.acquire(first, "mutex")
    started = time.monotonic()

    answer = client.acquire(second, "mutex", block_for=timedelta(milliseconds=200))
    waited_seconds = time.monotonic() - started

    assert not answer
    assert 0.2 <= waited_seconds < 3
    assert not client.is_acquired(second)


@pytest.mark.parametrize("block_for", [None, timedelta(0)])
def test_acquire_without_blocking_answers_at_once(client: Any, block_for: timedelta | None) -> None:
    """A request that does not ask to wait is answered at once."""
    first, second = client.new_peer(LONG), client.new_peer(LONG)
    assert client.acquire(first, "mutex")
    started = time.monotonic()

    answer = client.acquire(second, "mutex", block_for=block_for)
    waited_seconds = time.monotonic() - started

    assert not answer
    assert waited_seconds < 3


def test_acquire_renews_the_lease(client: Any) -> None:
    """The lease that an acquire names replaces the one that the peer was registered with."""
    first, second = client.new_peer(SHORT), client.new_peer(LONG)

    acquired = client.acquire(first, "mutex", expires_in=LONG)
    second_has_it = client.acquire(second, "mutex", block_for=2 * SHORT)

    assert acquired
    assert not second_has_it
    assert is_known(client, first)


def test_acquire_may_shrink_a_lock(client: Any) -> None:
    """A smaller count gives the difference back at once."""
    peer_id = client.new_peer(LONG)
    assert client.acquire(peer_id, "pool", count=4)

    answer = client.acquire(peer_id, "pool", count=1)

    assert answer
    assert 4 == client.remainder("pool")


def test_acquire_must_not_grow_a_lock(client: Any) -> None:
    """A larger count than the one that is held is refused, and changes nothing."""
    peer_id = client.new_peer(LONG)
    assert client.acquire(peer_id, "pool", count=1)

    with pytest.raises(ValueError) as raised:
        client.acquire(peer_id, "pool", count=2)

    assert str(raised.value).startswith("Lock hierarchy violation. This may deadlock.")
    assert 4 == client.remainder("pool")


def test_acquire_while_another_lock_is_pending_raises(client: Any) -> None:
    """A peer can wait for one lock only."""
    first, second = client.new_peer(LONG), client.new_peer(LONG)
    assert client.acquire(first, "middle", count=2)
    assert not client.acquire(second, "middle")

    with pytest.raises(ValueError) as raised:
        client.acquire(second, "pool")

    assert str(raised.value).startswith("Already pending.")
    assert 5 == client.remainder("pool")


def test_acquire_at_a_higher_level_raises(client: Any) -> None:
    """A lock that could deadlock is refused, and changes nothing."""
    peer_id = client.new_peer(LONG)
    assert client.acquire(peer_id, "middle")

    with pytest.raises(ValueError) as raised:
        client.acquire(peer_id, "high")

    assert str(raised.value).startswith("Lock hierarchy violation. This may deadlock.")
    assert 2 == client.remainder("high")


@pytest.mark.parametrize("count", [0, -1])
def test_acquire_of_no_permits_raises(client: Any, count: int) -> None:
    """A count below 1 is refused with the server's explanation."""
    peer_id = client.new_peer(LONG)

    with pytest.raises(ValueError) as raised:
        client.acquire(peer_id, "pool", count=count)

    assert f"Lock count must be a positive number. Found: {count}." == str(raised.value)


def test_acquire_above_max_raises(client: Any) -> None:
    """A count above max is refused, and the answer names both numbers."""
    peer_id = client.new_peer(LONG)

    with pytest.raises(ValueError) as raised:
        client.acquire(peer_id, "pool", count=6)

    expected = (
        "Lock can never be acquired, it would block forever. "
        "Lock asks for count 6 yet full count is only 5."
    )
    assert expected == str(raised.value)
    assert client.is_acquired(peer_id)


UNKNOWN_SEMAPHORE_CALLS: Mapping[str, Callable[[Any, int], object]] = {
    "acquire": lambda client, peer_id: client.acquire(peer_id, "misspelt"),
    "release_lock": lambda client, peer_id: client.release_lock(peer_id, "misspelt"),
    "remainder": lambda client, _: client.remainder("misspelt"),
    "restore": lambda client, _: client.restore(UNKNOWN_PEER_ID, {"misspelt": 1}, LONG),
}


@pytest.mark.parametrize("call", UNKNOWN_SEMAPHORE_CALLS)
def test_unknown_semaphore_raises(client: Any, call: str) -> None:
    """Every call that names a semaphore raises `ValueError` for an unknown one."""
    peer_id = client.new_peer(LONG)

    with pytest.raises(ValueError) as raised:
        UNKNOWN_SEMAPHORE_CALLS[call](client, peer_id)

    assert "Unknown semaphore" == str(raised.value)


UNKNOWN_PEER_CALLS: Mapping[str, Callable[[Any], object]] = {
    "acquire": lambda client: client.acquire(UNKNOWN_PEER_ID, "mutex"),
    "blocking acquire": lambda client: client.acquire(UNKNOWN_PEER_ID, "mutex", block_for=LONG),
    "heartbeat": lambda client: client.heartbeat(UNKNOWN_PEER_ID, LONG),
    "is_acquired": lambda client: client.is_acquired(UNKNOWN_PEER_ID),
    "release_lock": lambda client: client.release_lock(UNKNOWN_PEER_ID, "mutex"),
}


@pytest.mark.parametrize("call", UNKNOWN_PEER_CALLS)
def test_unknown_peer_raises(client: Any, call: str) -> None:
    """Every call that needs its peer raises `UnknownPeer` without it."""
    with pytest.raises(throttle_client.UnknownPeer):
        UNKNOWN_PEER_CALLS[call](client)

    assert not is_known(client, UNKNOWN_PEER_ID)


def test_blocking_acquire_raises_if_its_peer_is_released(client: Any) -> None:
    """A request that waits for a lock ends with `UnknownPeer` when its peer goes."""
    first, second = client.new_peer(LONG), client.new_peer(LONG)
    assert client.acquire(first, "mutex")
    block_for = timedelta(seconds=PATIENCE_SECONDS)

    answer = in_background(lambda: client.acquire(second, "mutex", block_for=block_for))
    wait_until(lambda: not client.is_acquired(second))
    client.release(second)

    with pytest.raises(throttle_client.UnknownPeer):
        answer.result(PATIENCE_SECONDS / 2)


def test_release_lock_releases_that_lock_only(client: Any) -> None:
    """Releasing one lock leaves the other locks of the peer, and the peer."""
    peer_id = client.new_peer(LONG)
    assert client.acquire(peer_id, "high")
    assert client.acquire(peer_id, "pool", count=2)

    client.release_lock(peer_id, "pool")

    assert [1, 5] == [client.remainder(name) for name in ("high", "pool")]
    assert is_known(client, peer_id)


def test_release_lock_of_nothing_is_quiet(client: Any) -> None:
    """Releasing what is not held, or not held any more, raises nothing."""
    peer_id = client.new_peer(LONG)
    assert client.acquire(peer_id, "mutex")

    client.release_lock(peer_id, "mutex")
    client.release_lock(peer_id, "mutex")
    client.release_lock(peer_id, "pool")

    assert [1, 5] == [client.remainder(name) for name in ("mutex", "pool")]


def test_release_lock_cancels_a_pending_lock(client: Any) -> None:
    """Releasing a lock that is pending gives up the place, and whoever is next moves up."""
    first, second, third = (client.new_peer(LONG) for _ in range(3))
    assert client.acquire(first, "mutex")
    assert not client.acquire(second, "mutex")
    assert not client.acquire(third, "mutex")

    client.release_lock(second, "mutex")
    client.release(first)

    assert client.is_acquired(third)
    assert 0 == client.remainder("mutex")


def test_release_releases_all_locks_of_a_peer(client: Any) -> None:
    """Releasing a peer releases its locks, hands them on, and forgets the peer."""
    first, second = client.new_peer(LONG), client.new_peer(LONG)
    assert client.acquire(first, "high")
    assert client.acquire(first, "pool", count=5)
    assert not client.acquire(second, "pool", count=2)

    client.release(first)

    assert client.is_acquired(second)
    assert [2, 3] == [client.remainder(name) for name in ("high", "pool")]
    assert not is_known(client, first)


def test_release_of_an_unknown_peer_is_quiet(client: Any) -> None:
    """Releasing a peer twice, or one that never was, raises nothing."""
    peer_id = client.new_peer(LONG)

    client.release(peer_id)
    client.release(peer_id)
    client.release(UNKNOWN_PEER_ID)

    assert not is_known(client, peer_id)


def test_is_acquired_says_whether_a_peer_waits(client: Any) -> None:
    """A peer is acquired unless one of its locks is pending."""
    first, second = client.new_peer(LONG), client.new_peer(LONG)

    without_locks = client.is_acquired(second)
    client.acquire(first, "mutex")
    client.acquire(second, "mutex")
    while_pending = client.is_acquired(second)
    client.release(first)
    after_release = client.is_acquired(second)

    assert [True, False, True] == [without_locks, while_pending, after_release]


def test_heartbeat_renews_the_lease(client: Any) -> None:
    """A heartbeat replaces the lease of a peer."""
    first, second = client.new_peer(SHORT), client.new_peer(LONG)
    assert client.acquire(first, "mutex")

    client.heartbeat(first, LONG)
    second_has_it = client.acquire(second, "mutex", block_for=2 * SHORT)

    assert not second_has_it
    assert is_known(client, first)


def test_peer_expires_with_its_lease(client: Any) -> None:
    """A peer without heartbeats is forgotten when its lease ends."""
    peer_id = client.new_peer(SHORT)
    known_at_first = is_known(client, peer_id)

    wait_until(lambda: not is_known(client, peer_id))

    assert known_at_first
    with pytest.raises(throttle_client.UnknownPeer):
        client.heartbeat(peer_id, LONG)


def test_restore_brings_a_peer_with_its_locks(client: Any) -> None:
    """A restored peer has its locks, and goes on as if it had never been away."""
    client.restore(UNKNOWN_PEER_ID, {"high": 1, "pool": 3}, LONG)

    assert [1, 2] == [client.remainder(name) for name in ("high", "pool")]
    assert client.is_acquired(UNKNOWN_PEER_ID)
    assert client.acquire(UNKNOWN_PEER_ID, "pool", count=3)


def test_restore_without_locks_brings_a_peer(client: Any) -> None:
    """A peer that held nothing is restored as well, as a waiting one must be."""
    client.restore(UNKNOWN_PEER_ID, {}, LONG)

    assert client.is_acquired(UNKNOWN_PEER_ID)
    assert client.acquire(UNKNOWN_PEER_ID, "mutex")


@pytest.mark.parametrize("peer_id", [1, 2**53, 2**64 - 1])
def test_restore_takes_any_id(client: Any, peer_id: int) -> None:
    """A peer comes back with the id that it has, also if an older server gave it."""
    client.restore(peer_id, {"mutex": 1}, LONG)

    client.heartbeat(peer_id, LONG)
    client.release(peer_id)

    assert 1 == client.remainder("mutex")


def test_restore_may_exceed_max(client: Any) -> None:
    """Restored locks are acquired beyond max, and nobody else gets one until they are gone."""
    holder, waiter = client.new_peer(LONG), client.new_peer(LONG)
    assert client.acquire(holder, "pool", count=5)

    client.restore(UNKNOWN_PEER_ID, {"pool": 4}, LONG)
    over_committed = client.remainder("pool")
    acquired_early = client.acquire(waiter, "pool")
    client.release(holder)

    assert -4 == over_committed
    assert not acquired_early
    assert client.is_acquired(waiter)


def test_restore_of_the_same_state_is_quiet(client: Any) -> None:
    """Restoring twice, as a client does whose answer was lost, changes nothing."""
    client.restore(UNKNOWN_PEER_ID, {"pool": 2}, LONG)

    client.restore(UNKNOWN_PEER_ID, {"pool": 2}, LONG)

    assert 3 == client.remainder("pool")


def test_restore_must_not_change_a_peer(client: Any) -> None:
    """Restoring a peer that exists otherwise raises, and changes nothing."""
    peer_id = client.new_peer(LONG)
    assert client.acquire(peer_id, "pool", count=2)

    with pytest.raises(ValueError) as raised:
        client.restore(peer_id, {"pool": 3}, LONG)

    assert "Restore is not allowed to change existing peers." == str(raised.value)
    assert 3 == client.remainder("pool")


def test_refused_restore_leaves_nothing_behind(client: Any) -> None:
    """A restore with one unknown semaphore restores neither the peer nor its other locks."""
    with pytest.raises(ValueError, match=r"^Unknown semaphore$"):
        client.restore(UNKNOWN_PEER_ID, {"pool": 1, "misspelt": 1}, LONG)

    assert not is_known(client, UNKNOWN_PEER_ID)
    assert 5 == client.remainder("pool")


@pytest.mark.skipif(not HAS_REMOVE_EXPIRED, reason="this version has no `remove_expired`")
def test_remove_expired_counts_no_living_peer(client: Any) -> None:
    """The call answers with a number, and leaves alone whose lease has not ended."""
    peer_id = client.new_peer(LONG)

    removed = client.remove_expired()

    assert 0 == removed
    assert is_known(client, peer_id)


@pytest.mark.skipif(not HAS_REMOVE_EXPIRED, reason="this version has no `remove_expired`")
def test_remove_expired_counts_no_peer_twice(client: Any) -> None:
    """A peer whose lease has ended is counted once at most."""
    peer_id = client.new_peer(timedelta(milliseconds=1))
    wait_until(lambda: not is_known(client, peer_id))

    client.remove_expired()
    removed_again = client.remove_expired()

    assert 0 == removed_again
