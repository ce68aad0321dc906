"""`async with lock(...)`: what a task holds, with whom it shares a peer, and how it may lose."""

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable

import pytest

from observing import Inside, eventually, peers, waiting
from proxy import Proxy
from throttle_client import Client, Lease, LockLost, Refused, Timeout, lock
from throttle_client._local import find_local_peer
from throttle_client.testing import Server

Run = Callable[[Callable[[], Awaitable[int]]], Awaitable[int]]


async def locked(url: str, semaphore: str) -> int:
    """Take a lock and give it back; return the id of the peer."""
    async with lock(url, semaphore) as lease:
        lease.check()
        return lease.id


async def test_lock_is_held_inside_the_block(server: Server) -> None:
    """And given back after it."""
    client = Client(server.url)

    async with lock(server.url, "A", count=3) as lease:
        inside = client.remainder("A")
        lease.check()

    assert (2, 5) == (inside, client.remainder("A"))
    assert [] == peers(server.url)


async def test_exception_gives_the_lock_back(server: Server) -> None:
    """It is not replaced."""
    with pytest.raises(ZeroDivisionError):
        async with lock(server.url, "A"):
            raise ZeroDivisionError

    assert [] == peers(server.url)


async def test_coroutine_function_is_decorated(server: Server) -> None:
    """The lock is held while it runs, not only while it is called."""
    client = Client(server.url)

    @lock(server.url, "mutex")
    async def look(at: str) -> int:
        await asyncio.sleep(0)
        return client.remainder(at)

    assert inspect.iscoroutinefunction(look)
    assert "look" == look.__name__
    assert 0 == await look("mutex")
    assert 0 == await look(at="mutex")
    assert 1 == client.remainder("mutex")


async def test_calls_of_a_decorated_coroutine_function_wait_for_each_other(server: Server) -> None:
    """Also where one object is entered by many tasks at the same time."""
    inside = Inside()

    @lock(server.url, "middle")
    async def enter(number: int) -> int:
        with inside:
            await asyncio.sleep(0.01)
            return number

    assert list(range(10)) == await asyncio.gather(*(enter(number) for number in range(10)))
    assert inside.most <= 2


async def test_locks_that_nest_in_a_task_belong_to_one_peer(server: Server) -> None:
    """The server sees that they go from high levels to lower ones."""
    async with lock(server.url, "high") as outer, lock(server.url, "A", 2) as inner:
        (peer,) = peers(server.url)

    assert outer.id == inner.id == peer["id"]
    assert {"high": 1, "A": 2} == peer["acquired"]


async def test_locks_that_nest_upwards_are_refused(server: Server) -> None:
    """The outer one is not touched."""
    async with lock(server.url, "middle") as outer:
        with pytest.raises(Refused, match="hierarchy"):
            await locked(server.url, "high")

        outer.check()
        (peer,) = peers(server.url)
    assert {"middle": 1} == peer["acquired"]


async def test_same_semaphore_nested_in_a_task_is_an_error(proxy: Proxy) -> None:
    """It would wait for itself; nothing is sent."""
    async with lock(proxy.url, "A") as lease:
        before = list(proxy.requests)

        with pytest.raises(ValueError, match="holds a lock of `A` already"):
            await locked(proxy.url, "A")

        assert before == proxy.requests
        lease.check()


async def in_created_task(call: Callable[[], Awaitable[int]]) -> int:
    """Run it in a task of its own."""
    return await asyncio.create_task(in_coroutine(call))


async def in_task_group(call: Callable[[], Awaitable[int]]) -> int:
    """Run it in a group of tasks."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(in_coroutine(call))
    return task.result()


async def in_gather(call: Callable[[], Awaitable[int]]) -> int:
    """Run it beside another one."""
    result, _ = await asyncio.gather(call(), asyncio.sleep(0))
    return result


async def in_thread(call: Callable[[], Awaitable[int]]) -> int:
    """Run it in a thread, with an event loop of its own."""
    return await asyncio.to_thread(lambda: asyncio.run(in_coroutine(call)))


async def in_coroutine(call: Callable[[], Awaitable[int]]) -> int:
    """Await it in whatever task this is."""
    return await call()


@pytest.mark.parametrize("run", [in_created_task, in_task_group, in_gather, in_thread])
async def test_child_task_has_a_peer_of_its_own(server: Server, run: Run) -> None:
    """It may take what its parent holds, and what only its parent may not."""
    async with lock(server.url, "middle") as ours:
        same = await run(lambda: locked(server.url, "middle"))
        higher = await run(lambda: locked(server.url, "high"))

        ours.check()
        still_ours = await locked(server.url, "A")

    assert ours.id == still_ours
    assert 3 == len({ours.id, same, higher})


@pytest.mark.parametrize("run", [in_created_task, in_task_group, in_gather, in_thread])
async def test_child_tasks_do_not_collide(server: Server, run: Run) -> None:
    """A peer can wait for one ask only, but each of them waits on behalf of its own."""
    async with lock(server.url, "high") as ours:
        async with lock(server.url, "mutex"):
            children = [asyncio.create_task(_child(server.url, run)) for _ in range(5)]
            await eventually(lambda: 5 == waiting(server.url))
        ids = {await child for child in children}
        ours.check()

    assert 5 == len(ids - {ours.id})
    assert [] == peers(server.url)


async def _child(url: str, run: Run) -> int:
    return await run(lambda: locked(url, "mutex"))


async def test_sync_lock_in_to_thread_has_a_peer_of_its_own(server: Server) -> None:
    """The thread inherits nothing of the task that started it."""

    def sync_locked() -> int:
        with lock(server.url, "middle") as lease:
            return lease.id

    async with lock(server.url, "middle") as ours:
        theirs = await asyncio.to_thread(sync_locked)

    assert ours.id != theirs


async def test_sync_lock_in_a_coroutine_belongs_to_the_task(server: Server) -> None:
    """It nests with the asynchronous ones, and other tasks of the thread do not see it."""

    async def look() -> bool:
        return find_local_peer(server.url) is None

    async with lock(server.url, "high") as outer:
        with lock(server.url, "middle") as middle:
            async with lock(server.url, "A") as inner:
                is_alone = await asyncio.create_task(look())

    assert outer.id == middle.id == inner.id
    assert is_alone
    assert [] == peers(server.url)


async def test_timeout_leaves_nothing_in_the_queue(server: Server) -> None:
    """The ask is withdrawn before the error is raised."""
    with lock(Client(server.url), "mutex") as ours:
        with pytest.raises(Timeout, match=r"1 of `mutex` was not acquired within 0\.2 s"):
            await asyncio.create_task(_wait(server.url, 0.2))

        assert [ours.id] == [peer["id"] for peer in peers(server.url)]


async def _wait(url: str, timeout: float | None) -> None:
    async with lock(url, "mutex", timeout=timeout):
        pass


async def test_timeout_of_zero_is_a_try(proxy: Proxy) -> None:
    """It is decided with one request, and never in the queue."""
    await _wait(proxy.url, 0)
    async with lock(proxy.url, "mutex"):
        before = len(proxy.requests)

        with pytest.raises(Timeout, match="1 of `mutex` is not free"):
            await asyncio.create_task(_wait(proxy.url, 0))

        assert 1 == len(proxy.requests) - before


async def test_lock_is_kept_while_the_loop_is_blocked(server: Server) -> None:
    """Heartbeats come from threads, however busy the task that holds it is."""
    async with lock(server.url, "mutex", expires_in=1) as lease:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            pass

        lease.check()
        (peer,) = peers(server.url)

    assert {"mutex": lease.token} == peer["tokens"]


async def test_lock_survives_a_restart_of_the_server(server: Server) -> None:
    """It is restored with its token, also while the loop does something else."""
    async with lock(server.url, "mutex", expires_in=1.5) as lease:
        server.kill()
        server.start()

        await eventually(lambda: peers(server.url))
        (peer,) = peers(server.url)
        lease.check()

    assert (lease.id, {"mutex": lease.token}) == (peer["id"], peer["tokens"])
    assert [] == peers(server.url)


async def test_task_that_waits_goes_on_after_a_restart_of_the_server(server: Server) -> None:
    """It asks again until it is granted."""
    client = Client(server.url)
    client.acquire(client.new_peer(60), "mutex")
    waiter = asyncio.create_task(locked(server.url, "mutex"))
    await eventually(lambda: 1 == waiting(server.url))

    server.kill()
    server.start()

    await asyncio.wait_for(waiter, 10)
    assert [] == peers(server.url)


async def test_lost_lock_is_told_in_the_loop(server: Server) -> None:
    """The callback may touch what belongs to the loop, and is called once."""
    calls: list[tuple[Lease, object, threading.Thread]] = []
    told = asyncio.Event()

    def on_lost(lost: Lease) -> None:
        calls.append((lost, asyncio.get_running_loop(), threading.current_thread()))
        told.set()

    held = lock(server.url, "A", expires_in=1, on_lost=on_lost)
    lease = await held.__aenter__()
    Client(server.url).release(lease.id)
    await asyncio.wait_for(told.wait(), 10)
    assert lease.lost

    with pytest.raises(LockLost, match="`A`"):
        await held.__aexit__(None, None, None)

    assert [(lease, asyncio.get_running_loop(), threading.current_thread())] == calls


async def test_lost_lock_is_not_told_after_its_block(server: Server) -> None:
    """What was given back cannot be lost."""
    calls: list[Lease] = []
    async with lock(server.url, "high", expires_in=1, raise_if_lost=False) as outer:
        async with lock(server.url, "A", on_lost=calls.append):
            pass
        Client(server.url).release(outer.id)
        await eventually(lambda: outer.lost)

    assert [] == calls


async def test_lost_lock_may_be_left_quietly(server: Server) -> None:
    """If the caller wishes so."""
    async with lock(server.url, "A", expires_in=1, raise_if_lost=False) as lease:
        Client(server.url).release(lease.id)

    assert lease.lost


async def test_lost_lock_does_not_replace_an_exception(server: Server) -> None:
    """It is noted there."""

    async def lose_and_fail() -> None:
        async with lock(server.url, "A") as lease:
            Client(server.url).release(lease.id)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as raised:
        await lose_and_fail()

    assert ["lost `A`" in note for note in raised.value.__notes__] == [True]


async def test_lock_that_wait_for_enters_is_left_by_the_task(server: Server) -> None:
    """Some ways to await something do so in a task of their own."""
    shared = lock(server.url, "A")
    first = await asyncio.wait_for(shared.__aenter__(), 10)

    await shared.__aexit__(None, None, None)

    assert first.is_given_back
    assert [] == peers(server.url)


async def test_lock_that_another_task_has_entered_is_not_mistaken(server: Server) -> None:
    """Where one object is shared, a task that is still there leaves its own lock by itself."""
    shared = lock(server.url, "A")
    handed_over = await asyncio.create_task(shared.__aenter__())
    inside, leave = asyncio.Event(), asyncio.Event()

    async def stay() -> None:
        async with shared as lease:
            inside.set()
            await leave.wait()
            lease.check()

    task = asyncio.create_task(stay())
    await inside.wait()

    await shared.__aexit__(None, None, None)

    leave.set()
    await task
    assert handed_over.is_given_back
    assert [] == peers(server.url)


async def test_connection_is_used_again(proxy: Proxy) -> None:
    """Locks that follow each other need one connection, and two requests each."""
    for _ in range(10):
        await locked(proxy.url, "A")

    assert 1 == proxy.connections
    assert 20 == len(proxy.requests)
