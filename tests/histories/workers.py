"""A client process: threads, or tasks of asyncio, that take locks over and over.

Each act is written down at once, as a line of JSON, with the time of the clock that leases run on.
A hold is written down as begun after the client has said so, and as ended before the client is told
to give it back. So what is written is never more than what was believed; and of holds that overlap,
each was believed in by the client's own reckoning of its lease.
"""

import asyncio
import itertools
import json
import logging
import os
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from throttle_client import Lease, Lock, LockLost, Timeout, Unreachable, lock
from throttle_client._durations import now

# Whose asks nest: outer ones first. Several in one mapping are asked for together.
Plan = Sequence[Mapping[str, int]]

PLANS: tuple[Plan, ...] = (
    [{"mutex": 1}],
    [{"mutex": 1}],
    [{"pool": 1}],
    [{"pool": 2}],
    [{"pool": 3}],
    [{"high": 1}, {"middle": 1}, {"pool": 1}],
    [{"high": 2}, {"mutex": 1}],
    [{"middle": 1}, {"mutex": 1}],
    [{"middle": 1, "mutex": 1}],
    [{"high": 1, "pool": 2}],
    [{"pool": 2, "mutex": 1}],
    [{"high": 1, "middle": 1}, {"pool": 1}],
)

SEMAPHORES = {"mutex": (1, 0), "pool": (3, 0), "middle": (2, 1), "high": (2, 2)}


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is to do.

    Attributes:
        url: Where the server is.
        directory: Where to write, and where a file `stop` says that it is enough.
        lease: The length of the leases, in seconds.
        seed: Of all that is drawn by lot.
        hands: How many threads or tasks there are.
        is_async: Whether they are tasks.
        ignores_loss: Whether to go on as if no lease were ever lost: what a checker must notice.
    """

    url: str
    directory: Path
    lease: float
    seed: int
    hands: int = 4
    is_async: bool = False
    ignores_loss: bool = False


def work(job: Job) -> None:
    """Do it, in this process, until it is enough."""
    logging.basicConfig(filename=job.directory / f"{os.getpid()}.log")
    book = Book(job)
    if job.is_async:
        asyncio.run(_work_in_tasks(job, book))
        return
    hands = [threading.Thread(target=Hand(job, book, n).work) for n in range(job.hands)]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()


async def _work_in_tasks(job: Job, book: "Book") -> None:
    await asyncio.gather(*(Hand(job, book, n).work_in_task() for n in range(job.hands)))


class Book:
    """Where a worker writes down what it does."""

    def __init__(self, job: Job) -> None:
        """Open the file that is called as the process is."""
        self._job = job
        path = job.directory / f"{os.getpid()}.jsonl"
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self._numbers = itertools.count()

    def ask(self, counts: Mapping[str, int], timeout: float | None) -> int:
        """Begin to ask; returns a number for what comes of it."""
        number = next(self._numbers)
        self._write("ask", number, counts=dict(counts), timeout=timeout)
        return number

    def granted(self, number: int, lease: Lease) -> None:
        """Begin a hold."""
        time = now()
        until = time + lease.holding.left()
        self._write(
            "granted", number, time=time, peer=lease.id, token=lease.token or 0, until=until
        )

    def lost(self, number: int, lease: Lease) -> None:
        """Learn in the midst of a hold that it is lost."""
        if not self._job.ignores_loss:
            self._write("lost", number, until=self._until(lease))

    def end(self, number: int, lease: Lease) -> None:
        """End a hold."""
        time = now()
        until = time if self._job.ignores_loss else self._until(lease)
        self._write("end", number, time=time, until=until, is_lost=lease.lost.is_set())

    def told(self, number: int, outcome: str) -> None:
        """Learn that there is nothing to hold."""
        self._write("told", number, outcome=outcome)

    @staticmethod
    def _until(lease: Lease) -> float:
        """Until when the lease was good by the client's own clock, or now if it still is."""
        time = now()
        return time + min(lease.holding.left(), 0.0)

    def _write(self, what: str, number: int, time: float | None = None, **more: object) -> None:
        record = {"what": what, "ask": number, "time": now() if time is None else time, **more}
        # At once, and in one piece, whatever happens to the process next.
        os.write(self._file, json.dumps(record).encode() + b"\n")


class Hand:
    """One thread or task of a worker."""

    def __init__(self, job: Job, book: Book, number: int) -> None:
        """Prepare it."""
        self._job = job
        self._book = book
        self._lots = random.Random(f"{job.seed}-{number}")
        self._stop = job.directory / "stop"

    def work(self) -> None:
        """Take locks in a thread, until it is enough."""
        while not self._stop.exists():
            self._hold(self._lots.choice(PLANS))
            threading.Event().wait(self._lots.uniform(0.0, 0.05))

    async def work_in_task(self) -> None:
        """Take locks in a task, until it is enough."""
        while not self._stop.exists():
            await self._hold_in_task(self._lots.choice(PLANS))
            await asyncio.sleep(self._lots.uniform(0.0, 0.05))

    def _hold(self, plan: Plan) -> None:
        counts, *inner = plan
        timeout = self._timeout()
        number = self._book.ask(counts, timeout)
        is_granted = False
        try:
            with self._lock(number, counts, timeout) as lease:
                self._book.granted(number, lease)
                is_granted = True
                if inner:
                    self._hold(inner)
                if self._job.ignores_loss:
                    threading.Event().wait(self._seconds())
                else:
                    lease.lost.wait(self._seconds())
                self._book.end(number, lease)
        except Exception as error:
            self._fail(number, error, is_granted=is_granted)

    async def _hold_in_task(self, plan: Plan) -> None:
        counts, *inner = plan
        timeout = self._timeout()
        number = self._book.ask(counts, timeout)
        is_granted = False
        is_lost = asyncio.Event()
        try:
            async with self._lock(number, counts, timeout, is_lost.set) as lease:
                self._book.granted(number, lease)
                is_granted = True
                if inner:
                    await self._hold_in_task(inner)
                with suppress(TimeoutError):
                    await asyncio.wait_for(is_lost.wait(), self._seconds())
                self._book.end(number, lease)
        except Exception as error:
            self._fail(number, error, is_granted=is_granted)

    def _lock(
        self,
        number: int,
        counts: Mapping[str, int],
        timeout: float | None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> Lock:
        def tell(lease: Lease) -> None:
            self._book.lost(number, lease)
            on_lost()

        return lock(
            self._job.url,
            counts,
            timeout=timeout,
            expires_in=self._job.lease,
            on_lost=tell,
        )

    def _timeout(self) -> float | None:
        """Most wait for ever, some only try, some lose patience."""
        return self._lots.choice((None, None, None, 0.0, self._lots.uniform(0.1, 1.0)))

    def _seconds(self) -> float:
        """Most hold for a moment, some so long that heartbeats are due, or a lease may end."""
        is_long = self._lots.random() < 0.06
        return self._lots.uniform(*(0.2, 1.5 * self._job.lease) if is_long else (0.0, 0.04))

    def _fail(self, number: int, error: Exception, *, is_granted: bool) -> None:
        """Write down why there is nothing to hold, or what is no good end of a hold."""
        if is_granted and isinstance(error, LockLost):
            # What it lost, it has written down before.
            return
        known = {Timeout: "timeout", LockLost: "lost", Unreachable: "unreachable"}
        self._book.told(number, known.get(type(error), repr(error)))
