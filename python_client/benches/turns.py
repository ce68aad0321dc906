"""One round of `cycles.py`: threads take turns at one lock, with whatever client is installed here.

    python benches/turns.py URL THREADS SECONDS

The scheme of the URL says whose lock it is: redis-py's for `redis`, else `throttle_client`'s, of
any version. The lock is given back as soon as it is held. It prints JSON: how many `cycles` began
in that time, and how many of them were `hand_offs`, which means that another thread had held the
lock before. What it does not do: wait for a server, compare, or repeat.

It needs nothing but the standard library and the client, for it runs where only that is installed.
"""

import importlib
import json
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import pairwise

SEMAPHORE = "A"
# As long as the leases of `throttle_client`, so that none ends within a round.
REDIS_TIMEOUT_SECONDS = 300
# For the threads to have had the lock once each; redis-py's wait long for each other.
WARM_UP_SECONDS = 30

Take = Callable[[], AbstractContextManager[object]]


def main() -> None:
    """Run the round and print what came of it."""
    url, threads, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    holders = turns(taking(url), threads, seconds)
    hand_offs = sum(before != after for before, after in pairwise(holders))
    print(json.dumps({"cycles": len(holders), "hand_offs": hand_offs}))


def taking(url: str) -> Take:
    """Find the client that goes with a URL.

    Args:
        url: of the server.

    Returns:
        A function that makes a context manager, within which the lock is held; it blocks until
        then. All else is as the client has it by default, such as how redis-py waits: it asks ten
        times a second.
    """
    # Neither is imported by name at the top, for only one of them is there.
    if url.startswith("redis:"):
        redis = importlib.import_module("redis").Redis.from_url(url)
        return lambda: redis.lock(SEMAPHORE, timeout=REDIS_TIMEOUT_SECONDS)
    lock = importlib.import_module("throttle_client").lock
    return lambda: lock(url, SEMAPHORE)


def turns(take: Take, threads: int, seconds: float) -> list[int]:
    """Let threads take the lock and give it back, over and over, all at the same time.

    Args:
        take: makes the context manager; called by all threads.
        threads: how many; the main thread is one of them.
        seconds: for how long, from when each of them has had the lock once.

    Returns:
        The number of each thread that held the lock in that time, in the order in which they did.
    """
    holders: list[int] = []
    together = threading.Barrier(threads, timeout=WARM_UP_SECONDS)

    def turn(number: int) -> None:
        with take():
            pass
        together.wait()
        ends_at = time.perf_counter() + seconds
        while time.perf_counter() < ends_at:
            with take():
                # Whoever was still waiting at the end gets the lock in vain.
                if time.perf_counter() < ends_at:
                    holders.append(number)

    with ThreadPoolExecutor(threads) as others:
        running = [others.submit(turn, number) for number in range(1, threads)]
        turn(0)
        for one in running:
            one.result()
    return holders


if __name__ == "__main__":
    main()
