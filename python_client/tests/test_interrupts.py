"""Ctrl+C wherever it comes: no lock is kept for ever, and the rest of the process works on."""

import gc
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from types import FrameType
from typing import Any, NoReturn

import pytest

from helpers import in_background, wait_until
from interruptions import Interruption
from observing import peers
from rivals import occupy
from throttle_client import Lock, Timeout, clear_peers, lock
from throttle_client._local import local_peers
from throttle_client.testing import Server, StartServer

# Of so many lines that run, one is tried.
STEP = 7
LEASE = 0.6
HAMMERING_SECONDS = 1.0
BLOW_SECONDS = 0.0002


@pytest.fixture
def server(throttle_server: StartServer) -> Server:
    """Start a server with enough of everything but `mutex`, whatever is left behind."""
    return throttle_server({"A": 10_000, "B": 5, "mutex": 1, "high": (10_000, 2)})


# What was made and not handed over yet is closed by the interpreter, which complains; as it does of
# an interruption that comes in a finalizer.
pytestmark = pytest.mark.filterwarnings(
    "ignore:coroutine .* was never awaited",
    "ignore:unclosed <socket",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


def interrupt(phase: str, held: Lock, number: int) -> str:
    """Enter or leave a block, and interrupt that at one line; return which one it was, if any."""
    interruption = Interruption(number)
    if phase == "leaves":
        held.__enter__()
    with suppress(KeyboardInterrupt, Timeout), interruption:
        if phase == "leaves":
            held.__exit__(None, None, None)
        else:
            held.__enter__()
    if phase == "enters" and not interruption.where:
        held.__exit__(None, None, None)
    return interruption.where


def ask(server: Server, phase: str, **terms: Any) -> Lock:
    """Prepare a lock that is free, or one that is not while somebody waits for it."""
    if phase == "waits":
        return lock(server.url, "mutex", timeout=0.02, **terms)
    return lock(server.url, "A", timeout=10, **terms)


@pytest.mark.parametrize("phase", ["enters", "waits", "leaves"])
def test_interrupted_lock_is_not_kept_for_ever(server: Server, phase: str) -> None:
    """Whichever line is interrupted: at the latest, what is left goes with its lease."""
    holder = occupy(server)
    lines: dict[str, str] = {}
    stuck: list[str] = []

    number = 0
    for number in count(1, STEP):
        where = interrupt(phase, ask(server, phase, name=str(number), expires_in=LEASE), number)
        gc.collect()
        lines[str(number)] = where
        if any(peer.has_acquired() for peer in local_peers().values()):
            stuck.append(where)
            clear_peers()
        if not where:
            break

    assert number > 100, "the lines are not traced, so that nothing was tested"
    assert "" == "\n".join(stuck)
    with suppress(AssertionError):
        wait_until(lambda: len(peers(server.url)) == 1, 3 * LEASE)
    left = [lines[str(peer["name"])] for peer in peers(server.url) if peer["id"] != holder]
    assert "" == "\n".join(left)


@pytest.mark.parametrize("phase", ["enters", "waits", "leaves"])
def test_interrupted_inner_lock_does_not_stay_with_the_outer_one(
    server: Server, phase: str
) -> None:
    """Whichever line is interrupted: the peer has its outer lock afterwards, and no other."""
    occupy(server)
    left: list[str] = []

    def has_outer_only(name: str) -> bool:
        (peer,) = [peer for peer in peers(server.url) if peer["name"] == name]
        return ({"high": 1}, {}) == (peer["acquired"], peer["pending"])

    number = 0
    for number in count(1, STEP):
        clear_peers()
        name = f"outer {number}"
        with lock(server.url, "high", name=name) as outer:
            where = interrupt(phase, ask(server, phase), number)
            gc.collect()
            try:
                wait_until(lambda name=name: has_outer_only(name), 0.5)  # type: ignore[misc]
                assert {"high": 1} == outer.acquired
            except AssertionError:
                left.append(where)
        if not where:
            break

    assert number > 100, "the lines are not traced, so that nothing was tested"
    assert "" == "\n".join(left)


@pytest.fixture
def alarm_interrupts() -> Iterator[None]:
    """Have SIGALRM do what Ctrl+C does."""

    def strike(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, strike)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("alarm_interrupts")
def test_threads_lock_on_after_many_interruptions(server: Server) -> None:
    """What all locks of the process share is never left locked by a signal."""
    hits = 0
    until = time.monotonic() + HAMMERING_SECONDS
    for number in count():
        clear_peers()
        try:
            signal.setitimer(signal.ITIMER_REAL, BLOW_SECONDS * (1 + number % 15))
            with lock(server.url, "A", timeout=1, expires_in=LEASE):
                pass
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            hits += 1
        except Timeout:
            # What was interrupted before may stay for a lease.
            signal.setitimer(signal.ITIMER_REAL, 0)
        if time.monotonic() > until:
            break

    def hold() -> bool:
        with lock(server.url, "B", expires_in=LEASE) as lease:
            return lease.lost.wait(2 * LEASE)

    assert hits > 20
    assert in_background(hold).result(10) is False


def test_no_mutex_is_entered_in_python_code(server: Server) -> None:
    """Ctrl+C can come while Python code enters a mutex, and leave it locked for ever."""
    entered: list[str] = []

    def trace(frame: FrameType, event: str, argument: object) -> None:
        caller = frame.f_back
        if frame.f_code.co_name == "__enter__" and frame.f_code.co_filename == threading.__file__:
            assert caller is not None
            entered.append(f"{caller.f_code.co_filename}:{caller.f_lineno}")

    with lock(server.url, "A"):
        pass

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with lock(server.url, "high"), lock(server.url, "A"):
            pass
    finally:
        sys.settrace(before)

    assert [] == entered
