"""Threads that lock: a crowd on one semaphore, shared locks, and who belongs to which peer."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import pytest

from helpers import in_background
from observing import Inside, peers, until_waiting
from throttle_client import Client, Lease, get_local_peer, lock
from throttle_client._local import find_local_peer
from throttle_client.testing import Server, StartServer

CROWD = 200
MANY_PEERS = 50


def test_crowd_of_threads_never_exceeds_max(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """All of 200 threads get through twice, and nothing is left or complained about."""
    inside = Inside()

    def enter_twice() -> None:
        for _ in range(2):
            with lock(server.url, "A"), inside:
                overfull.wait(0.001)

    overfull = threading.Event()
    crowd = [in_background(enter_twice) for _ in range(CROWD)]
    for member in crowd:
        member.result(40)

    assert 2 * CROWD == inside.entries
    assert 1 < inside.most <= 5
    assert [] == peers(server.url)
    assert [] == [record.getMessage() for record in caplog.records if record.levelno > logging.INFO]


def test_threads_are_served_in_the_order_of_their_arrival(server: Server) -> None:
    """Who came first is first, however many wait."""
    served: list[int] = []

    def enter(number: int) -> None:
        with lock(server.url, "mutex"):
            served.append(number)

    with lock(server.url, "mutex"):
        crowd = []
        for number in range(20):
            crowd.append(in_background(partial(enter, number)))
            until_waiting(server.url, number + 1)
    for member in crowd:
        member.result(10)

    assert list(range(20)) == served


def test_shared_lock_gives_each_thread_a_lease_of_its_own(server: Server) -> None:
    """One object may be entered by several threads at once, and each leaves its own."""
    shared = lock(server.url, "A")
    all_inside, first_left = threading.Barrier(5), threading.Event()

    def enter(number: int) -> tuple[int | None, bool]:
        with shared as lease:
            all_inside.wait(10)
            if number > 0:
                assert first_left.wait(10)
                lease.check()
        first_left.set()
        return lease.token, lease.is_given_back

    crowd = [in_background(partial(enter, number)) for number in range(5)]
    results = [member.result(20) for member in crowd]

    assert 5 == len({token for token, _ in results})
    assert all(is_given_back for _, is_given_back in results)
    assert [] == peers(server.url)


def test_decorated_function_may_run_in_many_threads(server: Server) -> None:
    """Each call holds a lock of its own, and gets its own result."""
    inside = Inside()

    @lock(server.url, "middle")
    def square(number: int) -> int:
        with inside:
            return number * number

    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(square, range(40)))

    assert [number * number for number in range(40)] == results
    assert inside.most <= 2
    assert [] == peers(server.url)


def test_lock_may_be_left_by_another_thread(server: Server) -> None:
    """Whoever leaves gives back what was entered."""
    handed_over = lock(server.url, "mutex")
    lease = in_background(handed_over.__enter__).result(10)

    handed_over.__exit__(None, None, None)

    assert lease.is_given_back
    assert [] == peers(server.url)


def test_lock_that_another_thread_has_entered_is_not_mistaken(server: Server) -> None:
    """Where one object is shared, a thread that is still there leaves its own lock by itself."""
    shared = lock(server.url, "A")
    handed_over = in_background(shared.__enter__).result(10)
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with shared as lease:
            inside.set()
            assert leave.wait(10)
            lease.check()

    stays = in_background(stay)
    assert inside.wait(10)

    shared.__exit__(None, None, None)

    leave.set()
    stays.result(10)
    assert handed_over.is_given_back
    assert [] == peers(server.url)


def test_thread_does_not_inherit_the_peer_of_the_one_that_started_it(server: Server) -> None:
    """It may take the same semaphore, and one of the same level; they cannot collide."""

    def enter() -> tuple[int, int]:
        with lock(server.url, "high") as outer, lock(server.url, "middle") as inner:
            return outer.id, inner.id

    with lock(server.url, "high") as ours, lock(server.url, "middle"):
        outer_id, inner_id = in_background(enter).result(10)

    assert outer_id == inner_id != ours.id


def test_waiting_threads_do_not_collide_with_one_that_holds(server: Server) -> None:
    """Each of them waits on behalf of a peer of its own."""

    def enter() -> int:
        with lock(server.url, "mutex") as lease:
            return lease.id

    with lock(server.url, "high") as ours:
        with lock(server.url, "mutex"):
            crowd = [in_background(enter) for _ in range(5)]
            until_waiting(server.url, 5)
        ids = {member.result(10) for member in crowd}

    assert 5 == len(ids - {ours.id})


def test_worker_of_a_pool_starts_anew_with_each_job(server: Server) -> None:
    """Nothing of an earlier job stays in its thread, also after an exception."""

    def fail() -> int:
        with lock(server.url, "A") as lease:
            ids.append(lease.id)
            raise ZeroDivisionError

    def succeed() -> int:
        assert find_local_peer(server.url) is None
        with lock(server.url, "A") as lease:
            return lease.id

    ids: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        failed = pool.submit(fail).exception(10)
        ids += [pool.submit(succeed).result(10) for _ in range(2)]

    assert isinstance(failed, ZeroDivisionError)
    assert 3 == len(set(ids))
    assert [] == peers(server.url)


def test_peer_of_a_thread_is_forgotten_with_its_last_lock(server: Server) -> None:
    """While the outer lock is held, the inner ones belong to it."""
    with lock(server.url, "high") as outer:
        with lock(server.url, "A"):
            pass

        still = get_local_peer(server.url)

    assert outer.id == still.id
    assert find_local_peer(server.url) is None


def test_many_peers_are_kept_at_once(throttle_server: StartServer) -> None:
    """Fifty leases of a second are all renewed for three seconds, without a token lost."""
    server = throttle_server({"wide": MANY_PEERS})
    all_inside, end = threading.Barrier(MANY_PEERS + 1), threading.Event()

    def hold() -> Lease:
        with lock(server.url, "wide", expires_in=1) as lease:
            all_inside.wait(20)
            assert end.wait(20)
            lease.check()
        return lease

    holders = [in_background(hold) for _ in range(MANY_PEERS)]
    all_inside.wait(20)
    before = [(peer["id"], peer["tokens"]) for peer in peers(server.url)]
    end.wait(3)
    after = [(peer["id"], peer["tokens"]) for peer in peers(server.url)]
    end.set()
    leases = [holder.result(20) for holder in holders]

    assert MANY_PEERS == len(before)
    assert before == after
    assert not any(lease.lost for lease in leases)


def test_locks_that_come_and_go_need_one_thread(server: Server) -> None:
    """The timer serves all of them; none has a thread of its own."""
    before, most = set(threading.enumerate()), 0

    for _ in range(50):
        with ExitStack() as stack:
            for semaphore in ("high", "middle", "A"):
                stack.enter_context(lock(server.url, semaphore))
            most = max(most, len(set(threading.enumerate()) - before))

    assert most <= 1


def test_client_is_shared_by_threads(server: Server) -> None:
    """Answers go to those who asked."""
    client = Client(server.url)
    expected = {"A": 5, "mutex": 1, "middle": 2}

    def ask(semaphore: str) -> set[int]:
        return {client.remainder(semaphore) for _ in range(50)}

    crowd = [(name, in_background(partial(ask, name))) for name in [*expected] * 5]

    assert [{expected[name]} for name, _ in crowd] == [asked.result(20) for _, asked in crowd]
