"""Thousands of tasks that lock: fair, within the limits of the system, and without a deadlock."""

import asyncio
import gc
import sys

import pytest

from observing import Inside, eventually, peers, waiting
from scripts import run_script
from throttle_client import Client, Refused, Timeout, _tasks, lock
from throttle_client.testing import Server, StartServer

MANY = 300
assert MANY > _tasks.WAITING_TASKS


async def enter(url: str, semaphore: str, inside: Inside | None = None) -> None:
    """Enter a block and leave it again."""
    async with lock(url, semaphore):
        with inside or Inside():
            await asyncio.sleep(0.001)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit of open files on Windows")
def test_crowd_of_tasks_never_exceeds_max(server: Server) -> None:
    """All of 2,000 tasks get through, though no more than 1,024 files may be open."""
    source = """
        import asyncio, resource, sys
        from throttle_client import lock

        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
        now = most = entries = 0

        async def enter():
            global now, most, entries
            async with lock(sys.argv[1], "A"):
                now, entries = now + 1, entries + 1
                most = max(most, now)
                await asyncio.sleep(0.001)
                now -= 1

        async def main():
            await asyncio.gather(*(enter() for _ in range(2000)))

        asyncio.run(main(), debug=False)
        print(entries, 1 < most <= 5)
    """

    done = run_script(source, server.url)

    assert (0, "2000 True\n", "") == done
    assert [] == peers(server.url)


async def test_crowd_that_nests_does_not_deadlock(throttle_server: StartServer) -> None:
    """More tasks hold an outer lock than may wait in line; those who hold need not."""
    server = throttle_server({"outer": (MANY, 2), "inner": (3, 1)})
    all_hold = asyncio.Barrier(MANY)
    inside = Inside()

    async def nest() -> None:
        async with lock(server.url, "outer"):
            await all_hold.wait()
            await enter(server.url, "inner", inside)

    await asyncio.wait_for(asyncio.gather(*(nest() for _ in range(MANY))), 40)

    assert MANY == inside.entries
    assert inside.most <= 3
    assert [] == peers(server.url)


async def test_crowd_that_nests_from_the_line_does_not_deadlock(
    throttle_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who wait in line hold nothing that those before them wait for."""
    monkeypatch.setattr(_tasks, "WAITING_TASKS", 2)
    server = throttle_server({"outer": (5, 2), "inner": 1})
    inside = Inside()

    async def nest(direct: bool) -> None:
        if direct:
            await enter(server.url, "inner", inside)
            return
        async with lock(server.url, "outer"):
            await enter(server.url, "inner", inside)

    crowd = (nest(direct) for direct in [True, False] * 20)
    await asyncio.wait_for(asyncio.gather(*crowd), 40)

    assert (40, 1) == (inside.entries, inside.most)
    assert [] == peers(server.url)


async def test_waiting_for_a_free_semaphore_is_not_held_up_by_a_busy_one(server: Server) -> None:
    """Each set of semaphores has a line of its own."""
    async with lock(Client(server.url), "mutex"):
        crowd = [asyncio.create_task(enter(server.url, "mutex")) for _ in range(MANY)]
        await eventually(lambda: _tasks.WAITING_TASKS == waiting(server.url))

        await asyncio.wait_for(asyncio.create_task(enter(server.url, "A")), 10)

        for task in crowd:
            task.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)


async def test_try_is_not_held_up_by_a_line(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is decided at once."""
    monkeypatch.setattr(_tasks, "WAITING_TASKS", 1)
    async with lock(Client(server.url), "mutex"):
        crowd = [asyncio.create_task(enter(server.url, "mutex")) for _ in range(3)]
        await eventually(lambda: 1 == waiting(server.url))

        with pytest.raises(Timeout, match="not free"):
            await asyncio.wait_for(asyncio.create_task(_wait(server.url, "mutex", 0)), 10)

    await asyncio.gather(*crowd)


async def test_wrong_order_of_levels_is_not_held_up_by_a_line(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds something asks at once: in the line, a deadlock would go unnoticed."""
    monkeypatch.setattr(_tasks, "WAITING_TASKS", 1)

    async def nest_upwards() -> None:
        async with lock(server.url, "mutex"):
            await enter(server.url, "middle")

    async with lock(Client(server.url), "middle", count=2):
        crowd = [asyncio.create_task(enter(server.url, "middle")) for _ in range(3)]
        await eventually(lambda: 1 == waiting(server.url))

        with pytest.raises(Refused, match="hierarchy"):
            await asyncio.wait_for(asyncio.create_task(nest_upwards()), 10)

    await asyncio.gather(*crowd)


async def test_timeout_counts_from_the_end_of_the_line(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who never got to the server give up as well, and say the same."""
    monkeypatch.setattr(_tasks, "WAITING_TASKS", 1)
    loop = asyncio.get_running_loop()

    async with lock(Client(server.url), "mutex") as lease:
        began_at = loop.time()
        results = await asyncio.gather(
            *(_wait(server.url, "mutex", 0.5) for _ in range(4)), return_exceptions=True
        )
        took = loop.time() - began_at

        assert [lease.id] == [peer["id"] for peer in peers(server.url)]
    expected = "1 of `mutex` was not acquired within 0.5 seconds"
    assert [(Timeout, expected)] * 4 == [(type(result), str(result)) for result in results]
    assert 0.5 <= took < 3


async def test_tasks_are_served_in_the_order_of_their_arrival(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the line as well as at the server."""
    monkeypatch.setattr(_tasks, "WAITING_TASKS", 1)
    served: list[int] = []

    async def wait(number: int) -> None:
        async with lock(server.url, "mutex"):
            served.append(number)

    async with lock(Client(server.url), "mutex"):
        crowd = [asyncio.create_task(wait(number)) for number in range(10)]
        await eventually(lambda: 1 == waiting(server.url))
    await asyncio.gather(*crowd)

    assert list(range(10)) == served


async def test_lines_of_many_semaphores_are_forgotten(throttle_server: StartServer) -> None:
    """What nobody waits for takes no memory."""
    names = [f"semaphore {number}" for number in range(50)]
    server = throttle_server(dict.fromkeys(names, 1))
    client, most = Client(server.url), 0

    def lines() -> int:
        return sum(1 for _, url, _ in list(_tasks._lines) if url == server.url)

    for name in names:
        client.acquire(client.new_peer(60), name)
        with pytest.raises(Timeout):
            await _wait(server.url, name, 0.01)
        most = max(most, lines())
    gc.collect()

    assert 0 == lines()
    assert most < 10


async def _wait(url: str, semaphore: str, timeout: float) -> None:
    async with lock(url, semaphore, timeout=timeout):
        pass
