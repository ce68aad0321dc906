"""Tasks that are cancelled: nothing stays behind at the server, wherever they were."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from observing import eventually, peers, waiting
from proxy import Proxy
from throttle_client import Client, Lock, _tasks, lock
from throttle_client.testing import Server

Cancel = Callable[[str], Awaitable[None]]


async def enter(held: Lock) -> None:
    """Enter a block and leave it again."""
    async with held:
        pass


async def waits(url: str, number: int = 1) -> None:
    """Return as soon as so many wait."""
    await eventually(lambda: number == waiting(url))


def holders(url: str) -> list[int]:
    """List the peers that are not gone."""
    return [peer["id"] for peer in peers(url)]


async def cancel_task(url: str) -> None:
    """Cancel the task itself."""
    task = asyncio.create_task(enter(lock(url, "mutex")))
    await waits(url)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def cancel_by_timeout(url: str) -> None:
    """Cancel with a timeout around the block."""

    async def wait() -> None:
        async with timeout:
            await enter(lock(url, "mutex"))

    timeout = asyncio.timeout(None)
    task = asyncio.create_task(wait())
    await waits(url)
    timeout.reschedule(0)
    with pytest.raises(TimeoutError):
        await task


async def cancel_by_wait_for(url: str) -> None:
    """Cancel with a timeout around the coroutine."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(enter(lock(url, "mutex")), 0.3)


async def cancel_by_task_group(url: str) -> None:
    """Cancel since a task fails that belongs to the same group."""

    async def fail() -> None:
        await waits(url)
        raise ZeroDivisionError

    async def wait() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(enter(lock(url, "mutex")))
            group.create_task(fail())

    with pytest.raises(ExceptionGroup) as raised:
        await wait()
    assert raised.group_contains(ZeroDivisionError)


@pytest.mark.parametrize(
    "cancel", [cancel_task, cancel_by_timeout, cancel_by_wait_for, cancel_by_task_group]
)
async def test_cancelled_waiter_withdraws_its_ask(server: Server, cancel: Cancel) -> None:
    """Before the cancellation is told, the queue is as if it had never waited."""
    async with lock(Client(server.url), "mutex") as lease:
        await cancel(server.url)

        assert [lease.id] == holders(server.url)
    await asyncio.wait_for(enter(lock(server.url, "mutex")), 10)


async def test_cancelled_waiter_keeps_its_outer_lock(server: Server) -> None:
    """Only the ask is withdrawn, and the peer can ask again."""
    ready = asyncio.Event()

    async def nest() -> None:
        async with lock(server.url, "high") as outer:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await enter(lock(server.url, {"mutex": 1, "A": 1}))
            (peer,) = [peer for peer in peers(server.url) if peer["id"] == outer.id]
            assert ({"high": 1}, {}) == (peer["acquired"], peer["pending"])
            outer.check()
            async with lock(server.url, "A"):
                ready.set()

    async with lock(server.url, "mutex"):
        await asyncio.create_task(nest())

    assert ready.is_set()
    assert [] == peers(server.url)


async def test_task_that_is_cancelled_before_it_ran_sends_nothing(proxy: Proxy) -> None:
    """There is nothing to withdraw."""
    task = asyncio.create_task(enter(lock(proxy.url, "A")))

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert [] == proxy.requests


async def test_cancelled_while_being_granted_holds_nothing(proxy: Proxy, server: Server) -> None:
    """The lock was granted, but the answer was on its way."""
    task = asyncio.create_task(enter(lock(proxy.url, "mutex")))
    proxy.delay(0.5)
    await eventually(lambda: holders(server.url))

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: [] == peers(server.url))


async def test_cancelled_while_several_are_granted_holds_none_of_them(
    proxy: Proxy, server: Server
) -> None:
    """All of the ask goes, and nothing but the ask: the outer lock stays."""
    client = Client(server.url)
    async with lock(proxy.url, "high") as outer:
        proxy.delay(0.5)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.25):
                await enter(lock(proxy.url, {"A": 1, "B": 2, "mutex": 1}))
        proxy.delay(0)

        free = {"A": 5, "B": 5, "mutex": 1, "high": 1}
        await eventually(lambda: free == {name: client.remainder(name) for name in free}, 3)
        outer.check()
    assert [] == peers(server.url)


async def test_cancelled_while_leaving_gives_the_lock_back(proxy: Proxy, server: Server) -> None:
    """The release goes on in the background, if need be."""
    held = lock(proxy.url, "mutex")
    inside, leave = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with held:
            inside.set()
            await leave.wait()
            proxy.hang()

    task = asyncio.create_task(hold())
    await inside.wait()
    leave.set()
    await eventually(lambda: not held._entered)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    proxy.pass_on()
    await eventually(lambda: [] == peers(server.url))


async def test_cancelled_while_leaving_gives_all_locks_back(proxy: Proxy, server: Server) -> None:
    """Each of several, while an outer lock goes on being held."""
    client = Client(server.url)
    inside, done = asyncio.Event(), asyncio.Event()
    inner = lock(proxy.url, {"A": 1, "B": 1, "middle": 1})

    async def hold() -> None:
        async with lock(proxy.url, "high") as outer:
            try:
                async with inner:
                    proxy.hang()
                    inside.set()
            except asyncio.CancelledError:
                outer.check()
                proxy.pass_on()
                await done.wait()

    task = asyncio.create_task(hold())
    await inside.wait()
    await eventually(lambda: not inner._entered)

    task.cancel()

    free = {"A": 5, "B": 5, "middle": 2, "high": 1}
    await eventually(lambda: free == {name: client.remainder(name) for name in free})
    done.set()
    await task
    assert [] == peers(server.url)


async def test_waiter_that_is_cancelled_twice_withdraws_its_ask(
    proxy: Proxy, server: Server
) -> None:
    """The second time comes while the withdrawal waits for its answer."""
    async with lock(Client(server.url), "mutex") as lease:
        task = asyncio.create_task(enter(lock(proxy.url, "mutex")))
        await waits(server.url)
        before = len(proxy.requests)
        proxy.delay(1)
        task.cancel()
        await eventually(lambda: len(proxy.requests) > before)

        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        proxy.delay(0)
        await eventually(lambda: [lease.id] == holders(server.url))


async def test_waiter_that_is_cancelled_without_a_server_withdraws_its_ask_later(
    proxy: Proxy, server: Server
) -> None:
    """It does not wait for the server, which is told as soon as it answers."""
    loop = asyncio.get_running_loop()
    async with lock(Client(server.url), "mutex") as lease:
        task = asyncio.create_task(enter(lock(proxy.url, "mutex")))
        await waits(server.url)
        proxy.hang()
        began_at = loop.time()

        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        assert loop.time() - began_at < 5
        proxy.pass_on()
        await eventually(lambda: [lease.id] == holders(server.url))


async def test_cancelled_block_gives_its_lock_back(server: Server) -> None:
    """Wherever in the block the task was, before the cancellation is told."""
    inside = asyncio.Event()

    async def hold() -> None:
        async with lock(server.url, "high"), lock(server.url, "A"):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await inside.wait()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert [] == peers(server.url)


async def test_waiter_that_is_cancelled_in_line_lets_the_others_through(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its place nor that of anybody else is lost, however often that happens."""
    monkeypatch.setattr(_tasks, "WAITING_TASKS", 2)
    async with lock(Client(server.url), "mutex") as lease:
        tasks = [asyncio.create_task(enter(lock(server.url, "mutex"))) for _ in range(12)]
        await waits(server.url, 2)
        for task in tasks[::3]:
            task.cancel()
        cancelled = await asyncio.gather(*tasks[::3], return_exceptions=True)
        await waits(server.url, 2)
        assert 3 == len(holders(server.url))
        assert lease.id in holders(server.url)

    await asyncio.wait_for(asyncio.gather(*tasks[1::3], *tasks[2::3]), 10)

    assert all(isinstance(error, asyncio.CancelledError) for error in cancelled)
    assert [] == peers(server.url)


async def test_crowd_that_is_cancelled_leaves_nothing_behind(server: Server) -> None:
    """Neither of those that wait at the server nor of those that wait in line before it."""
    async with lock(Client(server.url), "mutex") as lease:
        tasks = [asyncio.create_task(enter(lock(server.url, "mutex"))) for _ in range(300)]
        await waits(server.url, _tasks.WAITING_TASKS)

        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

        assert [lease.id] == holders(server.url)
    assert all(task.cancelled() for task in tasks)
