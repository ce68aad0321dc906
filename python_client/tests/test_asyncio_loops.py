"""Event loops that come and go: connections are closed with them, and nothing is complained about.

These programs run in development mode, where a warning is an error, unless they say otherwise.
"""

from helpers import wait_until
from observing import peers
from proxy import Proxy
from scripts import run_script
from throttle_client import Client
from throttle_client.testing import Server


def test_loop_ends_without_a_complaint(server: Server) -> None:
    """Everything is closed at the end of `asyncio.run`."""
    source = """
        import asyncio, sys, threading
        from throttle_client import Client, lock

        async def enter():
            async with lock(sys.argv[1], "high") as lease, lock(sys.argv[1], "A", timeout=10):
                lease.check()

        async def main():
            async with asyncio.TaskGroup() as group:
                for _ in range(5):
                    group.create_task(enter())

        asyncio.run(main(), debug=False)
        print([thread.name for thread in threading.enumerate() if not thread.daemon])
    """

    done = run_script(source, server.url)

    assert (0, "['MainThread']\n", "") == done
    assert [] == peers(server.url)


def test_loop_that_ends_with_locks_and_waiters_gives_them_back(server: Server) -> None:
    """Tasks that are cancelled by the end of `asyncio.run` leave nothing behind."""
    source = """
        import asyncio, sys
        from throttle_client import lock

        async def hold(semaphore, inside=None):
            async with lock(sys.argv[1], semaphore):
                inside.set()
                await asyncio.Event().wait()

        async def main():
            tasks = []
            for semaphore in ("mutex", "high", "A"):
                inside = asyncio.Event()
                tasks.append(asyncio.create_task(hold(semaphore, inside)))
                await inside.wait()
            tasks += [asyncio.create_task(hold("mutex", asyncio.Event())) for _ in range(5)]
            await asyncio.sleep(0.2)

        asyncio.run(main(), debug=False)
    """

    done = run_script(source, server.url)

    assert (0, "", "") == done
    assert [] == peers(server.url)


def test_loops_follow_each_other_in_one_process(server: Server) -> None:
    """Each has connections of its own, and closes them."""
    source = """
        import asyncio, os, sys
        from throttle_client import lock, _async

        async def enter():
            async with lock(sys.argv[1], "A") as lease:
                return lease.token

        tokens = [asyncio.run(enter(), debug=False) for _ in range(5)]
        print(tokens == sorted(set(tokens)), len(_async._sessions))
    """

    done = run_script(source, server.url)

    assert (0, "True 0\n", "") == done


def test_loops_of_two_threads_do_not_disturb_each_other(server: Server) -> None:
    """The one object may even be entered in both at once."""
    source = """
        import asyncio, sys, threading
        from throttle_client import lock

        shared = lock(sys.argv[1], "A")

        async def enter(number):
            async with shared as lease:
                lease.check()
                await asyncio.sleep(0)
                leases.append(lease.id)

        async def main():
            both_run.wait()
            for _ in range(10):
                await asyncio.gather(*(enter(number) for number in range(10)))

        leases = []
        both_run = threading.Barrier(2)
        threads = [
            threading.Thread(target=lambda: asyncio.run(main(), debug=False)) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(len(leases), len(set(leases)))
    """

    done = run_script(source, server.url)

    assert (0, "200 200\n", "") == done
    assert [] == peers(server.url)


def test_loop_that_is_closed_without_a_farewell_disturbs_nobody(server: Server) -> None:
    """Not everybody calls `shutdown_asyncgens`; later loops work, and nothing is said."""
    source = """
        import asyncio, gc, sys
        from throttle_client import lock

        async def enter():
            async with lock(sys.argv[1], "A") as lease:
                return lease.token

        tokens = []
        for _ in range(3):
            loop = asyncio.new_event_loop()
            tokens.append(loop.run_until_complete(enter()))
            loop.close()
        del loop
        gc.collect()
        tokens.append(asyncio.run(enter(), debug=False))
        print(tokens == sorted(set(tokens)))
    """

    # Without development mode: asyncio itself complains there about transports that are not closed.
    done = run_script(source, server.url, options=())

    assert (0, "True\n", "") == done
    assert [] == peers(server.url)


def test_closed_loops_leave_no_connection(server: Server) -> None:
    """What a loop that was closed has left behind goes with the next lock at the latest."""
    source = """
        import asyncio, gc, os, sys
        from throttle_client import lock

        async def enter():
            async with lock(sys.argv[1], "A"):
                pass

        def enter_in_a_loop():
            loop = asyncio.new_event_loop()
            loop.run_until_complete(enter())
            loop.close()

        enter_in_a_loop()
        counts = []
        for _ in range(20):
            enter_in_a_loop()
            gc.collect()
            counts.append(len(os.listdir("/proc/self/fd")))
        print(max(counts) - min(counts) <= 2)
    """

    done = run_script(source, server.url, options=("-W", "ignore"))

    assert (0, "True") == (done[0], done[1].strip())


def test_generator_that_is_left_inside_a_block_gives_the_lock_back(server: Server) -> None:
    """The end of the loop closes it, together with what keeps the connections."""
    source = """
        import asyncio, sys
        from throttle_client import lock

        async def results():
            async with lock(sys.argv[1], "A"):
                yield 1
                yield 2

        async def main():
            global kept
            kept = results()
            print(await anext(kept))

        asyncio.run(main(), debug=False)
    """

    done = run_script(source, server.url)

    assert (0, "1\n", "") == done
    assert [] == peers(server.url)


def test_loop_that_ends_before_its_lock_is_lost_hears_nothing(server: Server) -> None:
    """There is nobody to call back; the loss is logged all the same."""
    source = """
        import asyncio, logging, sys
        from throttle_client import Client, lock

        logging.basicConfig(format="%(levelname)s %(message)s")
        held = lock(sys.argv[1], "A", expires_in=1, on_lost=print)
        loop = asyncio.new_event_loop()
        lease = loop.run_until_complete(held.__aenter__())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        Client(sys.argv[1]).release(lease.id)
        print(lease.lost.wait(10))
    """

    code, stdout, stderr = run_script(source, server.url, options=())

    assert (0, "True\n") == (code, stdout)
    assert "Traceback" not in stderr


def test_busy_loop_does_not_leave_connections_open(server: Server) -> None:
    """Those that many tasks needed at once are closed with the loop."""
    source = """
        import asyncio, os, sys
        from throttle_client import lock

        async def enter():
            async with lock(sys.argv[1], "mutex"):
                pass

        async def main():
            await asyncio.gather(*(enter() for _ in range(50)))

        asyncio.run(enter(), debug=False)
        before = len(os.listdir("/proc/self/fd"))
        asyncio.run(main(), debug=False)
        print(len(os.listdir("/proc/self/fd")) - before)
    """

    done = run_script(source, server.url)

    assert (0, "0\n", "") == done


def test_missing_aiohttp_is_told_with_its_remedy(server: Server) -> None:
    """Only those who use asyncio need it, and they hear how to get it."""
    source = """
        import asyncio, sys
        sys.modules["aiohttp"] = None
        from throttle_client import lock

        async def enter():
            async with lock(sys.argv[1], "A"):
                pass

        with lock(sys.argv[1], "A"):
            print("inside")
        try:
            asyncio.run(enter())
        except ModuleNotFoundError as error:
            print(error)
    """

    done = run_script(source, server.url)

    assert (0, "") == (done[0], done[2])
    inside, message = done[1].splitlines()
    assert "inside" == inside
    assert "needs aiohttp" in message
    assert "throttle-client[asyncio]" in message
    assert [] == peers(server.url)


def test_threads_need_no_aiohttp(server: Server) -> None:
    """It is loaded with the first `async with`, which makes the others start sooner."""
    source = """
        import sys
        from throttle_client import lock

        with lock(sys.argv[1], "A"):
            print("aiohttp" in sys.modules)
    """

    done = run_script(source, server.url)

    assert (0, "False\n", "") == done


def test_loop_that_was_cancelled_by_a_signal_gives_its_lock_back(server: Server) -> None:
    """Ctrl-C ends `asyncio.run` through the blocks of its tasks."""
    source = """
        import asyncio, os, signal, sys
        from throttle_client import lock

        async def main():
            async with lock(sys.argv[1], "A"):
                os.kill(os.getpid(), signal.SIGINT)
                await asyncio.sleep(10)

        try:
            asyncio.run(main(), debug=False)
        except KeyboardInterrupt:
            print("interrupted")
    """

    done = run_script(source, server.url)

    assert (0, "interrupted\n", "") == done
    assert [] == peers(server.url)


def test_connections_of_a_loop_are_closed_at_the_server(server: Server) -> None:
    """The server sees them end with the loop, not with the process."""
    source = """
        import asyncio, sys
        from throttle_client import lock

        async def main():
            async with lock(sys.argv[1], "A"):
                pass

        asyncio.run(main(), debug=False)
        print("closed", flush=True)
        sys.stdin.readline()
    """
    with Proxy(server.url) as proxy:
        done = run_script(source, proxy.url)

        wait_until(lambda: not proxy.ends)
    assert (0, "closed\n", "") == done
    assert 5 == Client(server.url).remainder("A")
