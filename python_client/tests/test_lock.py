"""`lock`: what is held inside its block, what it yields, and functions that it decorates."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta

import pytest

from helpers import in_background, wait_until
from observing import Inside, peers
from proxy import Proxy
from throttle_client import (
    Client,
    Lease,
    Lock,
    LockLost,
    Peer,
    Refused,
    Timeout,
    UnknownSemaphore,
    lock,
)
from throttle_client.testing import Server


@pytest.fixture
def client(server: Server) -> Client:
    """Talk to a server."""
    return Client(server.url)


@pytest.mark.parametrize("count", [1, 4, 5])
def test_lock_holds_its_count_inside_its_block_only(
    server: Server, client: Client, count: int
) -> None:
    """So many permits are taken inside, none before and none after; nobody is left behind."""
    manager = lock(server.url, "A", count)
    before = client.remainder("A")

    with manager:
        inside = client.remainder("A")

    assert [5, 5 - count, 5] == [before, inside, client.remainder("A")]
    assert [] == peers(server.url)


def test_several_semaphores_are_held_together(server: Server, client: Client) -> None:
    """A mapping names counts; all of them belong to one grant."""
    with lock(server.url, {"high": 2, "A": 3, "mutex": 1}) as lease:
        (peer,) = peers(server.url)
        remainders = [client.remainder(name) for name in ("high", "A", "mutex")]

    assert [0, 2, 0] == remainders
    assert {"high": 2, "A": 3, "mutex": 1} == lease.semaphores
    assert {lease.token} == set(peer["tokens"].values())
    assert [2, 5, 1] == [client.remainder(name) for name in ("high", "A", "mutex")]


def test_several_semaphores_are_all_or_none(server: Server, client: Client) -> None:
    """While one of them is taken, none of the others is acquired, and a timeout leaves nothing."""
    with lock(Peer(client), "mutex"):
        with pytest.raises(Timeout, match=r"2 of `A`, 1 of `mutex` was not acquired within 0\.3"):
            lock(server.url, {"A": 2, "mutex": 1}, timeout=0.3).__enter__()

        assert 1 == len(peers(server.url))
        assert 5 == client.remainder("A")


def test_try_of_several_leaves_nothing(server: Server, client: Client) -> None:
    """`timeout=0` takes all at once, or nothing."""
    with lock(Peer(client), "mutex"):
        with pytest.raises(Timeout, match="is not free"):
            lock(server.url, {"A": 2, "mutex": 1}, timeout=0).__enter__()
        left, known = client.remainder("A"), peers(server.url)

    with lock(server.url, {"A": 2, "mutex": 1}, timeout=0):
        taken = client.remainder("A")

    assert (5, 1, 3) == (left, len(known), taken)


def test_exception_of_the_block_passes(server: Server, client: Client) -> None:
    """It is the very same exception, and the lock is given back."""
    error = KeyError("of the block")

    with pytest.raises(KeyError) as caught, lock(server.url, "A"):
        raise error

    assert error is caught.value
    assert not hasattr(error, "__notes__")
    assert 5 == client.remainder("A")


@pytest.mark.parametrize("timeout", [0.3, timedelta(milliseconds=300)])
def test_timeout_leaves_nothing_behind(server: Server, timeout: timedelta | float) -> None:
    """Who gives up has no place in the queue, and the block is not entered."""
    with lock(server.url, "mutex"):
        began_at = time.monotonic()

        def wait() -> None:
            with lock(server.url, "mutex", timeout=timeout):
                pytest.fail("entered")

        with pytest.raises(Timeout, match=r"1 of `mutex` was not acquired within 0\.3 seconds"):
            in_background(wait).result(10)

        assert time.monotonic() - began_at >= 0.3
        assert 1 == len(peers(server.url))


def test_unknown_semaphore_says_where_semaphores_come_from(server: Server) -> None:
    """A typing error is told with the server, the ask, and the remedy; no peer is made."""
    with pytest.raises(UnknownSemaphore) as caught:
        lock(server.url, "nope", 2).__enter__()

    (note,) = caught.value.__notes__
    assert server.url in note
    assert "2 of `nope`" in note
    assert "configuration of the server" in note
    assert [] == peers(server.url)


@pytest.mark.parametrize(
    ("count", "code"), [(6, "count_above_max"), (0, "count_below_one"), (-1, "count_below_one")]
)
def test_impossible_count_is_refused_at_once(server: Server, count: int, code: str) -> None:
    """What can never be granted is not waited for; no peer is made."""
    with pytest.raises(Refused) as caught:
        lock(server.url, "A", count).__enter__()

    assert code == caught.value.code
    assert [] == peers(server.url)


def test_what_lock_yields_is_a_peer(server: Server) -> None:
    """Its books are those of the server, as users of the published versions know them."""
    with lock(server.url, "A", 2, expires_in=60) as lease:
        (known,) = peers(server.url)
        is_peer, was_acquired = isinstance(lease, Peer), dict(lease.acquired)
        held, length = lease.has_acquired(), lease.expiration_time
        lease.heartbeat()

    assert is_peer
    assert (known["id"], known["acquired"]) == (lease.id, was_acquired)
    assert {"A": 2} == was_acquired
    assert held
    assert timedelta(minutes=1) == length
    assert server.url == lease.client.base_url
    assert not lease.has_acquired()


def test_tokens_grow(server: Server) -> None:
    """Each grant has a token greater than all before it, which is that of the server."""
    tokens: list[int] = []
    for semaphore in ("A", "mutex", "A"):
        with lock(server.url, semaphore) as lease:
            (known,) = peers(server.url)
            assert {semaphore: lease.token} == known["tokens"]
            tokens.append(lease.token or 0)

    assert 0 not in tokens
    assert sorted(set(tokens)) == tokens


def test_lease_that_is_held_is_good(server: Server) -> None:
    """It is neither lost nor at risk, and says so without asking anybody."""
    with Proxy(server.url) as proxy:
        with lock(proxy.url, "A") as lease:
            lease.check()
            flags = [lease.lost.is_set(), bool(lease.lost), lease.lost.wait(0), lease.at_risk]

        assert [False] * 4 == flags
        assert 2 == len(proxy.requests)


def test_lease_of_a_block_that_was_left_is_no_lock(server: Server) -> None:
    """`check` raises after the block; it was given back, not lost."""
    with lock(server.url, "A") as lease:
        within = lease.is_given_back

    with pytest.raises(LockLost, match=r"given .*back"):
        lease.check()
    assert [False, True] == [within, lease.is_given_back]
    assert not lease.lost.is_set()
    assert not lease.at_risk


def test_repr_tells_what_is_held_and_no_secret(server: Server) -> None:
    """Both that of the lock and that of the lease name semaphores and server, not the password."""
    url = server.url.replace("http://", "http://user:s3cret@")
    manager = lock(url, {"A": 2, "mutex": 1})

    with manager as lease:
        texts = [repr(manager), repr(lease), str(lease)]
        peer_id = str(lease.id)

    assert all("'A': 2" in text and "'mutex': 1" in text for text in texts)
    assert all(server.url in text for text in texts)
    assert all("s3cret" not in text for text in texts)
    assert peer_id in texts[1]


def test_lock_may_be_entered_again(server: Server, client: Client) -> None:
    """The same object holds a new lock each time."""
    manager = lock(server.url, "A", 2)
    leases = []

    for _ in range(3):
        with manager as lease:
            assert 3 == client.remainder("A")
            leases.append(lease)

    assert 3 == len({lease.id for lease in leases})
    assert 5 == client.remainder("A")


def test_one_lock_object_serves_several_threads_at_once(server: Server, client: Client) -> None:
    """Each thread holds a lock of its own through it, never more than max together."""
    manager, inside = lock(server.url, "A"), Inside()
    all_in = threading.Barrier(5)
    ids: list[int] = []

    def hold() -> None:
        for turn in range(6):
            with manager as lease, inside:
                ids.append(lease.id)
                lease.check()
                if turn == 0:
                    all_in.wait(10)

    threads = [in_background(hold) for _ in range(5)]
    for thread in threads:
        thread.result(30)

    assert 5 == inside.most
    assert 30 == len(set(ids))
    assert 5 == client.remainder("A")
    assert [] == peers(server.url)


def test_waiting_thread_does_not_hinder_the_one_that_holds(server: Server) -> None:
    """One object may be held by a thread and waited for by another; the holder leaves with its own.

    A `with` statement keeps nothing of its own, so the object must tell the two apart.
    """
    manager = lock(server.url, "mutex")
    with manager as first:
        waiter = in_background(lambda: enter_and_leave(manager))
        wait_until(lambda: any(peer["pending"] for peer in peers(server.url)))
        first.check()

    second = waiter.result(10)
    assert first.is_given_back
    assert second.is_given_back
    assert first.id != second.id


def enter_and_leave(manager: Lock) -> Lease:
    """Hold a lock for no time."""
    with manager as lease:
        return lease


def test_decorated_function_holds_the_lock_during_each_call(server: Server, client: Client) -> None:
    """Arguments go in, the value comes out, and nothing is held between calls."""

    @lock(server.url, "A", 2)
    def add(a: int, *, b: int) -> tuple[int, int]:
        return a + b, client.remainder("A")

    results = [add(1, b=2), add(3, b=4)]

    assert [(3, 3), (7, 3)] == results
    assert 5 == client.remainder("A")


def test_decorated_function_keeps_its_metadata(server: Server) -> None:
    """Name, text, annotations and the function itself stay in reach; nothing is sent."""

    def original(a: int) -> str:
        """Say what it does."""
        return str(a)

    decorated = lock(server.url, "A")(original)

    assert ("original", "Say what it does.") == (decorated.__name__, decorated.__doc__)
    assert original.__annotations__ == decorated.__annotations__
    assert original.__qualname__ == decorated.__qualname__
    assert original is decorated.__wrapped__  # type: ignore[attr-defined]
    assert [] == peers(server.url)


def test_decorated_method_knows_its_object(server: Server, client: Client) -> None:
    """A method is decorated as a function is, one lock for each call."""

    class Job:
        def __init__(self, answer: int) -> None:
            self.answer = answer

        @lock(server.url, "mutex", timeout=0)
        def run(self) -> tuple[int, int]:
            return self.answer, client.remainder("mutex")

    assert [(42, 0), (43, 0)] == [Job(42).run(), Job(43).run()]


def test_exception_of_a_decorated_function_passes(server: Server, client: Client) -> None:
    """The lock is given back, and the exception is the same."""
    error = OSError("of the function")

    @lock(server.url, "A")
    def fail() -> None:
        raise error

    with pytest.raises(OSError, match="of the function") as caught:
        fail()

    assert error is caught.value
    assert 5 == client.remainder("A")


def test_recursion_through_a_decorator_is_an_error_before_any_request(
    server: Server, client: Client
) -> None:
    """It would wait for itself, even where permits are left; the outer call goes on."""
    with Proxy(server.url) as proxy:
        outcomes: list[object] = []

        @lock(proxy.url, "A")
        def recur(depth: int) -> int:
            if depth:
                before = len(proxy.requests)
                with pytest.raises(ValueError, match="holds a lock of `A` already") as caught:
                    recur(depth - 1)
                outcomes.extend([caught.value, len(proxy.requests) - before])
            return client.remainder("A")

        left = recur(1)

        error, requests = outcomes
        assert 4 == left
        assert 0 == requests
        assert not isinstance(error, Refused)
        assert 2 == len(proxy.requests)
    assert 5 == client.remainder("A")


def generate() -> Iterator[int]:
    """Generate."""
    yield 1


async def generate_later() -> AsyncIterator[int]:
    """Generate asynchronously."""
    yield 1


@pytest.mark.parametrize("function", [generate, generate_later])
def test_generator_cannot_be_decorated(server: Server, function: Callable[[], object]) -> None:
    """It would run after its lock was given back; the error says what to do instead."""
    with pytest.raises(TypeError, match=r"generate\w* is a generator.*with lock\(") as caught:
        lock(server.url, "A")(function)

    assert function.__name__ in str(caught.value)


def test_decorated_coroutine_function_holds_the_lock_while_it_runs(
    server: Server, client: Client
) -> None:
    """It stays a coroutine function; calling it alone sends nothing."""

    @lock(server.url, "A", 2)
    async def work(answer: int) -> tuple[int, int]:
        await asyncio.sleep(0)
        return answer, client.remainder("A")

    result = asyncio.run(work(42))

    assert asyncio.iscoroutinefunction(work)
    assert (42, 3) == result
    assert 5 == client.remainder("A")
