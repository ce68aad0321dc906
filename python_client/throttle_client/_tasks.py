"""What tasks of asyncio need that threads do not: turns to wait, and calls into their loop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from weakref import WeakValueDictionary

from throttle_client._asking import too_late

# How many tasks of an event loop wait for the same semaphores at the server at the same time. Each
# takes a connection; the others wait for their turn before, and the system's limit of open files is
# not reached.
WAITING_TASKS = 256

_lines: "WeakValueDictionary[tuple[int, str, frozenset[str]], asyncio.Semaphore]" = (
    WeakValueDictionary()
)


def in_loop() -> Callable[[Callable[[], None]], None]:
    """Get a way to call something in the event loop that runs, from any thread."""
    loop = asyncio.get_running_loop()

    def call_in_loop(call: Callable[[], None]) -> None:
        # A loop that is closed has nobody to tell.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(call)

    return call_in_loop


@asynccontextmanager
async def turn(url: str, counts: Mapping[str, int], timeout: float | None) -> AsyncIterator[float]:
    """Wait for the turn to wait at the server.

    Whoever holds something already must not wait here: those who are before it may wait for just
    that.

    Args:
        url: The server.
        counts: What is waited for.
        timeout: For how many seconds to wait altogether.

    Yields:
        How many seconds that took.

    Raises:
        Timeout: The turn did not come in time.
    """
    loop = asyncio.get_running_loop()
    key = id(loop), url, frozenset(counts)
    line = _lines.get(key)
    if line is None:
        line = _lines[key] = asyncio.Semaphore(WAITING_TASKS)
    began_at = loop.time()
    try:
        async with asyncio.timeout(timeout):
            await line.acquire()
    except TimeoutError:
        raise too_late(counts, timeout) from None
    try:
        yield loop.time() - began_at
    finally:
        line.release()
