"""What several tests look at: the peers that a server has, and who is inside a block."""

import asyncio
import json
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any, Self

from helpers import POLL_SECONDS, wait_until


def peers(url: str) -> list[dict[str, Any]]:
    """List the peers that a server has right now, in the order of their ids."""
    with urllib.request.urlopen(f"{url}/peers/", timeout=10) as answer:
        return sorted(json.load(answer), key=lambda peer: int(peer["id"]))


def waiting(url: str) -> int:
    """Count the peers that wait for something."""
    return sum(1 for peer in peers(url) if peer["pending"])


def until_waiting(url: str, number: int) -> None:
    """Return as soon as so many peers wait for something."""
    wait_until(lambda: number == waiting(url))


async def eventually(condition: Callable[[], object], seconds: float = 10) -> None:
    """Return as soon as the condition holds, as `wait_until` does, and let other tasks run.

    Raises:
        AssertionError: it did not hold within that time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds} s: {condition}"
        await asyncio.sleep(POLL_SECONDS)


class Inside:
    """Counts who is inside a block, in all threads.

    Attributes:
        now: how many are inside.
        most: the greatest number so far.
        entries: how many have entered so far.
    """

    def __init__(self) -> None:
        """Begin with nobody."""
        self.now = self.most = self.entries = 0
        self._mutex = threading.Lock()

    def __enter__(self) -> Self:
        """Count one who enters."""
        with self._mutex:
            self.now += 1
            self.entries += 1
            self.most = max(self.most, self.now)
        return self

    def __exit__(self, *error: object) -> None:
        """Count one who leaves."""
        with self._mutex:
            self.now -= 1
