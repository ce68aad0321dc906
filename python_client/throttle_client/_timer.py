"""One thread that calls things at their time, for all locks of the process.

Most locks are given back long before anything is due; then that thread is not even woken. It is a
daemon, comes when it is needed, and goes when nothing is left to do. What it calls must be quick;
what takes longer goes into a thread of its own, see `spawn`.
"""

import heapq
import logging
import os
import sys
import threading
from collections.abc import Callable
from itertools import count

from throttle_client._durations import now

logger = logging.getLogger("throttle_client")

# It looks at the clock at least this often, for waiting stands still while the machine sleeps.
# What is due later than that does not wake it.
NAP_SECONDS = 5.0


class Entry:
    """A call that is due at some time."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        """Keep what to call; without a call, it was made or cancelled."""
        self.call: Callable[[], None] | None = call


class Timer:
    """Calls things at their time."""

    def __init__(self) -> None:
        """Begin with nothing to do, and no thread."""
        # Ctrl+C does not come while `with` takes this one. It does with a condition, which then
        # stays locked.
        self._mutex = threading.RLock()
        self._changed = threading.Condition(self._mutex)
        self._heap: list[tuple[float, int, Entry]] = []
        self._arrivals = count()
        self._cancelled = 0
        self._wakes_at: float | None = None

    def at(self, when: float, call: Callable[[], None]) -> Entry:
        """Call something at a time of `now()`, in the thread of the timer.

        Where no thread can be started, it stays undone until the next call tries again.
        """
        entry = Entry(call)
        with self._mutex:
            heapq.heappush(self._heap, (when, next(self._arrivals), entry))
            if self._wakes_at is None:
                self._wakes_at = now() if spawn(self._run, "throttle-timer") else None
            elif when < self._wakes_at:
                self._changed.notify()
        return entry

    def cancel(self, entry: Entry) -> None:
        """Call it no more; quiet where it was called already."""
        with self._mutex:
            if entry.call is None:
                return
            entry.call = None
            self._cancelled += 1
            if self._cancelled > 100 and 2 * self._cancelled > len(self._heap):
                self._heap = [item for item in self._heap if item[2].call is not None]
                heapq.heapify(self._heap)
                self._cancelled = 0

    def _run(self) -> None:
        """Call what is due, until there has been nothing to do for a while."""
        idle = False
        while True:
            with self._mutex:
                due = self._take_due()
                if due is None:
                    self._wakes_at = now() + NAP_SECONDS
                    if self._heap:
                        self._wakes_at = min(self._wakes_at, self._heap[0][0])
                    elif idle:
                        self._wakes_at = None
                        return
                    idle = not self._heap
                    self._changed.wait(max(self._wakes_at - now(), 0.0))
                    continue
            try:
                due()
            except Exception:
                logger.exception("a call of the timer failed")

    def _take_due(self) -> Callable[[], None] | None:
        """Take out the first call whose time has come."""
        while self._heap:
            when, _, entry = self._heap[0]
            if entry.call is None:
                heapq.heappop(self._heap)
                self._cancelled -= 1
            elif when > now():
                return None
            else:
                heapq.heappop(self._heap)
                call, entry.call = entry.call, None
                return call
        return None


def spawn(call: Callable[[], None], name: str) -> bool:
    """Run something in a daemon thread of its own.

    Returns:
        Whether it runs: there may be no more threads, or the interpreter is about to end.
    """
    if sys.is_finalizing():
        # The thread would never begin, and `start` would wait for that.
        return False
    try:
        threading.Thread(target=call, name=name, daemon=True).start()
    except RuntimeError:
        return False
    return True


timer = Timer()

# A child process inherits neither the thread nor what it had to do.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=timer.__init__)  # type: ignore[misc]
