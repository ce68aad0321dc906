"""How an interpreter ends that has locks: soon, with its own exit code, and without a word."""

import signal
import sys

import pytest

from helpers import wait_until
from observing import peers, until_waiting, waiting
from scripts import end_script, read_line, run_script, start_script
from throttle_client import Client, lock
from throttle_client.testing import Server, StartServer


def test_sys_exit_inside_a_block_gives_the_lock_back(server: Server) -> None:
    """The exit code is the program's."""
    source = """
        import sys
        from throttle_client import lock

        with lock(sys.argv[1], "high"), lock(sys.argv[1], "A"):
            sys.exit(3)
    """

    done = run_script(source, server.url)

    assert (3, "", "") == done
    assert [] == peers(server.url)


def test_exception_inside_a_block_gives_the_lock_back(server: Server) -> None:
    """All that is said is the exception."""
    source = """
        import sys
        from throttle_client import lock

        with lock(sys.argv[1], "A"):
            raise ZeroDivisionError("of the test")
    """

    code, stdout, stderr = run_script(source, server.url)

    assert (1, "") == (code, stdout)
    assert stderr.startswith("Traceback (most recent call last):")
    assert stderr.endswith("ZeroDivisionError: of the test\n")
    assert 1 == stderr.count("Traceback")
    assert [] == peers(server.url)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to handle on Windows")
def test_signal_handler_that_raises_inside_a_block_gives_the_lock_back(server: Server) -> None:
    """A program that is asked to end may end itself."""
    source = """
        import signal, sys
        from throttle_client import lock

        signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
        with lock(sys.argv[1], "A"):
            print("inside", flush=True)
            signal.pause()
    """
    script = start_script(source, server.url)
    read_line(script)

    script.send_signal(signal.SIGTERM)

    assert (5, "", "") == end_script(script)
    assert [] == peers(server.url)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to handle on Windows")
def test_signal_handler_that_raises_withdraws_the_ask(server: Server) -> None:
    """A program that waits for its turn leaves the queue."""
    source = """
        import signal, sys
        from throttle_client import lock

        signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
        with lock(sys.argv[1], "mutex"):
            pass
    """
    with lock(server.url, "mutex") as lease:
        script = start_script(source, server.url)
        until_waiting(server.url, 1)

        script.send_signal(signal.SIGTERM)

        assert (5, "", "") == end_script(script)
        assert [lease.id] == [peer["id"] for peer in peers(server.url)]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGUSR1 on Windows")
def test_signal_handler_that_returns_leaves_the_waiter_in_its_place(server: Server) -> None:
    """Whoever waits goes on waiting, and gets its turn."""
    source = """
        import signal, sys
        from throttle_client import lock

        signal.signal(signal.SIGUSR1, lambda *_: print("signal", flush=True))
        with lock(sys.argv[1], "mutex"):
            print("inside", flush=True)
    """
    with lock(server.url, "mutex"):
        script = start_script(source, server.url)
        until_waiting(server.url, 1)

        script.send_signal(signal.SIGUSR1)

        assert "signal" == read_line(script)
        assert 1 == waiting(server.url)
    assert (0, "inside\n", "") == end_script(script)


def test_lock_of_a_process_that_dies_goes_with_its_lease(server: Server) -> None:
    """`os._exit` gives nothing back; the server does, at the end of the lease."""
    source = """
        import os, sys
        from throttle_client import lock

        with lock(sys.argv[1], "mutex", expires_in=1):
            os._exit(6)
    """

    done = run_script(source, server.url)

    assert (6, "", "") == done
    wait_until(lambda: 1 == Client(server.url).remainder("mutex"))


def test_block_that_is_never_left_does_not_keep_the_process(server: Server) -> None:
    """Heartbeats go on as long as the main thread does, and not longer."""
    source = """
        import sys, threading
        from throttle_client import lock

        held = lock(sys.argv[1], "A", expires_in=1)
        lease = held.__enter__()
        assert not lease.lost.wait(1.1)
        print([thread.name for thread in threading.enumerate() if not thread.daemon])
    """

    done = run_script(source, server.url)

    assert (0, "['MainThread']\n", "") == done


def test_daemon_threads_that_hold_locks_do_not_keep_the_process(server: Server) -> None:
    """Neither they nor what beats for them; their locks go with their leases."""
    source = """
        import sys, threading
        from throttle_client import lock

        def hold():
            with lock(sys.argv[1], "A", expires_in=1):
                inside.wait()
                threading.Event().wait()

        inside = threading.Barrier(6)
        for _ in range(5):
            threading.Thread(target=hold, daemon=True).start()
        inside.wait()
        sys.exit(4)
    """

    done = run_script(source, server.url)

    assert (4, "", "") == done
    wait_until(lambda: 5 == Client(server.url).remainder("A"))


def test_daemon_threads_that_wait_do_not_keep_the_process(server: Server) -> None:
    """They may be in the middle of a request."""
    source = """
        import sys, threading
        from throttle_client import lock

        def wait():
            with lock(sys.argv[1], "mutex", expires_in=1):
                pass

        for _ in range(5):
            threading.Thread(target=wait, daemon=True).start()
        sys.stdin.readline()
        sys.exit(4)
    """
    with lock(server.url, "mutex"):
        script = start_script(source, server.url)
        until_waiting(server.url, 5)

        assert (4, "", "") == end_script(script)


def test_daemon_threads_that_lock_all_the_time_do_not_disturb_the_end(server: Server) -> None:
    """Whatever they were about to do when the interpreter ended."""
    source = """
        import sys, threading, time
        from throttle_client import lock

        def cycle():
            while True:
                with lock(sys.argv[1], "A", expires_in=1):
                    cycled.set()

        cycled = threading.Event()
        for _ in range(5):
            threading.Thread(target=cycle, daemon=True).start()
        cycled.wait()
        sys.exit(4)
    """

    ends = {run_script(source, server.url) for _ in range(3)}

    assert {(4, "", "")} == ends


def test_atexit_handler_may_take_a_lock(server: Server) -> None:
    """Those that are registered before the import run last, and may still lock."""
    source = """
        import atexit, sys

        def clean_up(what):
            from throttle_client import lock

            with lock(sys.argv[1], "A", expires_in=5) as lease:
                lease.check()
                print(what)

        atexit.register(clean_up, "last")
        from throttle_client import lock
        atexit.register(clean_up, "first")
        with lock(sys.argv[1], "A"):
            pass
    """

    done = run_script(source, server.url)

    assert (0, "first\nlast\n", "") == done
    assert [] == peers(server.url)


def test_first_lock_may_be_that_of_an_atexit_handler(server: Server) -> None:
    """No thread of the timer runs by then."""
    source = """
        import atexit, sys
        from throttle_client import lock

        def clean_up():
            with lock(sys.argv[1], "A"):
                print("inside")

        atexit.register(clean_up)
    """

    done = run_script(source, server.url)

    assert (0, "inside\n", "") == done
    assert [] == peers(server.url)


@pytest.mark.parametrize("is_first", [True, False], ids=["first lock", "later lock"])
def test_lock_in_a_finalizer_does_not_hang(server: Server, is_first: bool) -> None:
    """No thread can be started any more when the modules of an interpreter are torn down."""
    source = f"""
        import sys
        from throttle_client import lock

        class Resource:
            def __init__(self, lock, url):
                self.lock, self.url = lock, url

            def __del__(self):
                with self.lock(self.url, "A", timeout=5, expires_in=1):
                    pass

        resource = Resource(lock, sys.argv[1])
        resource.itself = resource
        if not {is_first}:
            with lock(sys.argv[1], "A"):
                pass
    """
    script = start_script(source, server.url, options=())

    code, stdout, _ = end_script(script, 10)

    assert (0, "") == (code, stdout)
    wait_until(lambda: [] == peers(server.url))


def test_generator_that_is_suspended_in_a_block_does_not_hang(
    throttle_server: StartServer,
) -> None:
    """It is closed when its module is torn down, and with it the block, whatever threads held."""
    source = """
        import sys
        from throttle_client import lock

        def results():
            with lock(sys.argv[1], "wide", expires_in=1):
                yield 1

        suspended = results()
        next(suspended)
    """
    server = throttle_server({"wide": 100})
    # The end of the interpreter meets threads wherever they are, so that one try tells little.
    scripts = [start_script(source, server.url, options=()) for _ in range(10)]

    try:
        ends = [end_script(script)[:2] for script in scripts]
    finally:
        for script in scripts:
            script.kill()
            script.communicate()

    assert [(0, "")] * 10 == ends
    wait_until(lambda: [] == peers(server.url))


def test_thread_pool_that_locks_is_waited_for(server: Server) -> None:
    """Jobs that are still to do at the end of the main thread get their locks."""
    source = """
        import sys
        from concurrent.futures import ThreadPoolExecutor
        from throttle_client import lock

        def job(number):
            with lock(sys.argv[1], "mutex"):
                print(number, flush=True)

        pool = ThreadPoolExecutor(1)
        for number in range(5):
            pool.submit(job, number)
    """

    done = run_script(source, server.url)

    assert (0, "0\n1\n2\n3\n4\n", "") == done
    assert [] == peers(server.url)


def test_optimized_interpreter_does_the_same(server: Server) -> None:
    """Nothing that matters stands in an `assert`."""
    source = """
        import asyncio, sys
        from throttle_client import Client, LockLost, Timeout, lock

        url = sys.argv[1]
        client = Client(url)

        def fails(*locks):
            try:
                with locks[0], locks[1], locks[2]:
                    return "entered"
            except (ValueError, TimeoutError) as error:
                return type(error).__name__

        async def alike():
            async with lock(url, "mutex") as lease:
                print(lease.token > 0, client.remainder("mutex"))

        with lock(url, "mutex", expires_in=0.8) as lease:
            print(lease.token > 0, client.remainder("mutex"), lease.lost.wait(0.9))
        print(fails(lock(url, "high"), lock(url, "A"), lock(url, "A")))
        print(fails(lock(url, "A"), lock(url, "high"), lock(url, "B")))
        client.acquire(client.new_peer(60), "middle", 2)
        print(fails(lock(url, "high"), lock(url, "middle", timeout=0.1), lock(url, "A")))
        asyncio.run(alike())
        try:
            with lock(url, "A") as lease:
                client.release(lease.id)
        except LockLost:
            print("lost")
        print([client.remainder(semaphore) for semaphore in ("A", "mutex", "high")])
    """

    done = run_script(source, server.url, options=("-O",))

    expected = ["True 0 False", "ValueError", "Refused", "Timeout", "True 0", "lost", "[5, 1, 2]"]
    assert (0, expected, "") == (done[0], done[1].splitlines(), done[2])
