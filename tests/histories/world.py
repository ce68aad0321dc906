"""A server, clients in processes of their own, a listener, and the means to break each of them."""

import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from helpers import wait_until
from proxy import Proxy
from throttle_client._durations import now
from throttle_client.testing import Server

from . import workers
from .checker import complaints_of_counters
from .faults import WallClock
from .history import Fault, History
from .observer import Observer, counters, left_over
from .reading import read_worker

LEASE = 1.5
# How long a client, a grant or the end of everything may take on a machine that is busy.
PATIENCE_SECONDS = 40.0
# Where so many locks were granted, everything has begun to work, or works again.
MANY_GRANTS = 20
# Tokens begin at the milliseconds of the wall clock at the start, times this.
TOKENS_A_MS = 2048

# Workers are forked from a process that has all they need and nothing else, no threads above all.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([workers.__name__, "throttle_client._async"])


@dataclass(frozen=True, slots=True)
class Ground:
    """What a server is started with.

    Attributes:
        extra: More of the configuration, see `Server`.
        launcher: What a shell is to do before the server takes its place.
        clock: Its wall clock, where that can be stepped.
    """

    extra: str = ""
    launcher: str = ""
    clock: WallClock | None = None


class World:
    """Everything that takes part in one history.

    Attributes:
        server: The server; it keeps its port.
        proxy: What stands between it and some of the clients, if the scenario wants that.
        ground: What the server was started with.
        lots: What the scenario draws by lot.
        workers: The clients that live.
        directory: Where they write.
    """

    def __init__(
        self,
        directory: Path,
        *,
        seed: str,
        seconds: float,
        ground: Ground,
        is_apart: bool = False,
    ) -> None:
        """Start a server and a listener.

        Args:
            directory: An empty one.
            seed: Of all that is drawn by lot.
            seconds: For how long to break something, over and over.
            ground: What the server is started with.
            is_apart: Whether some of the clients reach the server by way of a proxy.
        """
        self.directory = directory
        self.lots = random.Random(seed)
        self._until = time.monotonic() + seconds
        self.workers: list[ForkServerProcess] = []
        self._started = 0
        self._stack = ExitStack()
        self._history = History(workers.SEMAPHORES, LEASE)
        self.ground = ground
        binary = self._launch(ground.launcher) if ground.launcher else None
        try:
            server = Server(workers.SEMAPHORES, extra=ground.extra, binary=binary)
            self.server = self._stack.enter_context(server)
            self.proxy = self._stack.enter_context(Proxy(server.url)) if is_apart else None
            self.observer = Observer(server.url)
            self.observer.start()
        except BaseException:
            self._stack.close()
            raise

    def _launch(self, launcher: str) -> str:
        """Write a program that prepares the ground and becomes the server."""
        program = self.directory / "launch"
        binary = shutil.which(os.environ.get("THROTTLE_BIN") or "throttle")
        assert binary is not None, "THROTTLE_BIN names no program"
        program.write_text(f'#!/bin/sh\n{launcher}\nexec "{Path(binary).absolute()}" "$@"\n')
        program.chmod(0o700)
        return str(program)

    def start_workers(self, threads: int = 2, tasks: int = 1) -> None:
        """Start clients, so many with threads, so many with tasks; return once they work."""
        for kind in [False] * threads + [True] * tasks:
            self.start_worker(is_async=kind)
        self.observer.wait_for(
            lambda: self.observer.grants >= MANY_GRANTS, PATIENCE_SECONDS, "is granted much"
        )

    def start_worker(self, *, is_async: bool = False, ignores_loss: bool = False) -> None:
        """Start a client."""
        # Every other one is not behind the proxy: it gets in where those behind it are cut off.
        is_behind = self.proxy is not None and self._started % 2 == 0
        self._started += 1
        job = workers.Job(
            url=self.proxy.url if self.proxy and is_behind else self.server.url,
            directory=self.directory,
            lease=LEASE,
            seed=self.lots.getrandbits(32),
            is_async=is_async,
            ignores_loss=ignores_loss,
        )
        worker = _context.Process(target=workers.work, args=(job,), daemon=True)
        worker.start()
        self.workers.append(worker)

    def rounds(self) -> Iterator[None]:
        """Once, and again as long as it is not enough."""
        yield
        while time.monotonic() < self._until:
            yield

    def go_on(self, least: float, most: float) -> None:
        """Let time pass, from `least` to `most` seconds."""
        time.sleep(self.lots.uniform(least, most))

    @contextmanager
    def fault(self, kind: str, worker: ForkServerProcess | None = None) -> Iterator[None]:
        """Write down that something is broken meanwhile."""
        began = now()
        yield
        ended = now()
        pid = worker.pid if worker else None
        self._history.faults.append(Fault(kind, began, ended, pid))

    def restart(self, *, is_clock_ours: bool = True) -> None:
        """Start the server again that is down.

        Args:
            is_clock_ours: Whether its wall clock shows the same time as ours.
        """
        if is_clock_ours:
            self._history.starts.append(int(time.time() * 1000) * TOKENS_A_MS)
        heard = len(self.observer.stretches)
        self.server.start()
        self.observer.wait_for(
            lambda: len(self.observer.stretches) > heard, PATIENCE_SECONDS, "listens again"
        )

    def pick_worker(self) -> ForkServerProcess:
        """Draw one of the clients, and wait for a moment at which it holds something."""
        worker = self.lots.choice(self.workers)
        self.wait_until_inside(worker)
        return worker

    def wait_until_inside(self, worker: ForkServerProcess) -> None:
        """Wait until a client holds something, or for some seconds.

        A moment later it may have given that back.
        """
        path = self.directory / f"{_pid(worker)}.jsonl"
        deadline = time.monotonic() + PATIENCE_SECONDS / 10
        while time.monotonic() < deadline:
            text = path.read_text("utf-8") if path.exists() else ""
            if text.count('"what": "granted"') > text.count('"what": "end"'):
                return
            time.sleep(0.002)

    def stop_worker(self, worker: ForkServerProcess, seconds: float) -> None:
        """Let a client stand still."""
        with self.fault("SIGSTOP of a client", worker):
            os.kill(_pid(worker), signal.SIGSTOP)
            time.sleep(seconds)
            os.kill(_pid(worker), signal.SIGCONT)

    def kill_worker(self, worker: ForkServerProcess) -> None:
        """Kill a client, whatever it is about."""
        self.workers.remove(worker)
        with self.fault("SIGKILL of a client", worker):
            self._history.killed[_pid(worker)] = now()
            worker.kill()
            worker.join()

    def finish(self) -> History:
        """See that everything goes on, let everything end, and read what was recorded."""
        try:
            self._see_that_it_goes_on()
            (self.directory / "stop").touch()
            deadline = time.monotonic() + PATIENCE_SECONDS
            for worker in self.workers:
                worker.join(max(deadline - time.monotonic(), 0.0))
            self._see_that_nothing_is_left()
            self._read_counters()
            if self.server.stop() != 0:
                self._history.left_over.append("the server did not end in good order")
        finally:
            self.close()
        return replace(self.peek(), stretches=self.observer.stretches)

    def peek(self) -> History:
        """Read what was recorded so far of asks, holds and faults, while it goes on."""
        history = replace(self._history, asks=[], holds=[])
        for path in sorted(self.directory.glob("*.jsonl")):
            read_worker(history, path)
        return history

    def close(self) -> None:
        """End everything, however it stands."""
        for worker in self.workers:
            worker.kill()
            worker.join()
        self._stack.close()
        self.observer.stop()

    def _see_that_it_goes_on(self) -> None:
        enough = self.observer.grants + MANY_GRANTS
        try:
            self.observer.wait_for(
                lambda: self.observer.grants >= enough, PATIENCE_SECONDS, "is granted anything"
            )
        except AssertionError as error:
            self._history.left_over.append(str(error))

    def _see_that_nothing_is_left(self) -> None:
        """After a lease, nobody holds or waits for anything; and no worker is left."""
        for worker in self.workers:
            if worker.is_alive():
                self._history.left_over.append(f"worker {worker.pid} does not come to its end")
            elif worker.exitcode:
                self._history.left_over.append(f"worker {worker.pid} failed: {worker.exitcode}")
        found: list[str] = []

        def is_over() -> bool:
            found[:] = left_over(self.server.url)
            return not found

        try:
            wait_until(is_over, LEASE + PATIENCE_SECONDS / 4)
        except AssertionError:
            self._history.left_over.extend(f"at the end, {text}" for text in found)

    def _read_counters(self) -> None:
        """Read them, once the listener has heard of all that they count, if it ever does."""
        stretch = self.observer.stretches[-1]
        stretch.after = counters(self.server.url)
        try:
            self.observer.wait_for(
                lambda: not complaints_of_counters(stretch), LEASE, "hears of all that is counted"
            )
        except AssertionError as error:
            # The checker will say what is missing.
            self._history.left_over.append(str(error))


def _pid(worker: ForkServerProcess) -> int:
    assert worker.pid is not None
    return worker.pid
