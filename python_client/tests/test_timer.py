"""The timer: one thread that calls things at their time, and goes when nothing is left to do."""

import logging
import random
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from helpers import wait_until
from observing import peers
from throttle_client import _timer, lock
from throttle_client._durations import now
from throttle_client._timer import Timer, spawn
from throttle_client.testing import Server

HAMMERS = 8
BLOWS = 300


@pytest.fixture
def timer(monkeypatch: pytest.MonkeyPatch) -> Timer:
    """Make a timer of the test's own, whose thread goes soon after its last call."""
    monkeypatch.setattr(_timer, "NAP_SECONDS", 0.05)
    return Timer()


@pytest.fixture
def sleepy_timer(monkeypatch: pytest.MonkeyPatch) -> Timer:
    """Make a timer that never looks at the clock without a reason."""
    monkeypatch.setattr(_timer, "NAP_SECONDS", 3600.0)
    return Timer()


def refuse_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the system refuse any further thread."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


def recorder(calls: list[str], name: str) -> Callable[[], None]:
    """Return a call that notes that it was made."""
    return lambda: calls.append(name)


def test_calls_are_made_in_the_order_of_their_times(timer: Timer) -> None:
    """Whatever the order in which they were asked for."""
    calls: list[str] = []
    begin = now() + 0.1

    for name, when in {"third": 0.3, "first": 0.1, "second": 0.2}.items():
        timer.at(begin + when, recorder(calls, name))

    wait_until(lambda: len(calls) == 3)
    assert ["first", "second", "third"] == calls


def test_calls_of_the_same_time_are_made_in_the_order_of_arrival(timer: Timer) -> None:
    """Nothing else decides, such as what is called."""
    calls: list[str] = []
    when = now() + 0.1

    for number in range(20):
        timer.at(when, recorder(calls, str(number)))

    wait_until(lambda: len(calls) == 20)
    assert [str(number) for number in range(20)] == calls


def test_call_is_not_made_before_its_time(timer: Timer) -> None:
    """It comes at that time or later."""
    called_at: list[float] = []
    due = now() + 0.2

    timer.at(due, lambda: called_at.append(now()))

    wait_until(lambda: called_at)
    assert called_at[0] >= due


def test_call_of_the_past_is_made_at_once(sleepy_timer: Timer) -> None:
    """What is overdue does not wait for anything."""
    called = threading.Event()

    sleepy_timer.at(now() - 1000, called.set)

    assert called.wait(10)


def test_earlier_call_overtakes_the_one_that_is_waited_for(sleepy_timer: Timer) -> None:
    """The thread is woken for it."""
    called = threading.Event()
    sleepy_timer.at(now() + 3600, called.clear)
    wait_until(lambda: sleepy_timer._wakes_at and sleepy_timer._wakes_at > now() + 1000)

    sleepy_timer.at(now() + 0.05, called.set)

    assert called.wait(10)


def test_call_is_made_once(timer: Timer) -> None:
    """It is forgotten afterwards."""
    calls: list[str] = []
    later = threading.Event()

    timer.at(now(), recorder(calls, "once"))
    timer.at(now() + 0.2, later.set)

    assert later.wait(10)
    assert ["once"] == calls


def test_cancelled_call_is_not_made(timer: Timer) -> None:
    """The others are."""
    calls: list[str] = []
    begin = now() + 0.1
    entries = {name: timer.at(begin, recorder(calls, name)) for name in ("a", "b", "c")}

    timer.cancel(entries["b"])

    wait_until(lambda: len(calls) == 2)
    assert ["a", "c"] == calls


def test_cancelling_is_quiet_where_it_comes_too_late(timer: Timer) -> None:
    """Neither a call that was made nor one that was cancelled already minds."""
    called = threading.Event()
    entry = timer.at(now(), called.set)
    assert called.wait(10)

    for _ in range(300):
        timer.cancel(entry)

    assert 0 == timer._cancelled


def test_cancelled_calls_do_not_pile_up(sleepy_timer: Timer) -> None:
    """Memory stays bounded, and what was not cancelled is still called."""
    called = threading.Event()
    longest = 0
    sleepy_timer.at(now() + 0.5, called.set)
    sleepy_timer.at(now() + 3600, called.clear)

    for _ in range(10_000):
        sleepy_timer.cancel(sleepy_timer.at(now() + 300, called.clear))
        longest = max(longest, len(sleepy_timer._heap))

    assert longest < 300
    assert called.wait(10)


def test_cancelled_calls_go_where_many_others_stay(sleepy_timer: Timer) -> None:
    """No more than about half of what is kept is cancelled."""
    calls: list[str] = []
    stay = [sleepy_timer.at(now() + 3600, recorder(calls, "never")) for _ in range(1000)]

    for _ in range(10_000):
        sleepy_timer.cancel(sleepy_timer.at(now() + 300, recorder(calls, "never")))

    with sleepy_timer._mutex:
        kept = [entry for _, _, entry in sleepy_timer._heap if entry.call is not None]
    assert len(sleepy_timer._heap) < 2500
    assert set(stay) == set(kept)
    assert [] == calls


def test_call_that_raises_does_not_end_the_timer(
    timer: Timer, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the next one is made."""
    called = threading.Event()

    def fail() -> None:
        raise ZeroDivisionError("of the test")

    timer.at(now(), fail)
    timer.at(now() + 0.05, called.set)

    assert called.wait(10)
    (record,) = caplog.records
    assert ("throttle_client", logging.ERROR) == (record.name, record.levelno)
    assert "of the test" in str(record.exc_info)


def test_call_may_ask_for_another_one(timer: Timer) -> None:
    """That is how heartbeats go on."""
    called = threading.Event()

    timer.at(now(), lambda: void(timer.at(now() + 0.05, called.set)))

    assert called.wait(10)


def void(_: object) -> None:
    """Return nothing, whatever was given."""


def test_thread_goes_when_nothing_is_left_to_do(timer: Timer) -> None:
    """It is not kept for ever."""
    threads: list[threading.Thread] = []

    timer.at(now(), lambda: threads.append(threading.current_thread()))

    wait_until(lambda: threads)
    threads[0].join(10)
    assert not threads[0].is_alive()


def test_thread_goes_after_what_was_left_is_cancelled(timer: Timer) -> None:
    """A lock that is given back leaves no thread behind."""
    threads: list[threading.Thread] = []
    timer.at(now(), lambda: threads.append(threading.current_thread()))
    entry = timer.at(now() + 3600, threads.clear)
    wait_until(lambda: threads)

    timer.cancel(entry)

    threads[0].join(10)
    assert not threads[0].is_alive()


def test_thread_stays_while_something_is_to_do(timer: Timer) -> None:
    """It looks at the clock now and then, and does not go."""
    threads: list[threading.Thread] = []
    timer.at(now(), lambda: threads.append(threading.current_thread()))
    entry = timer.at(now() + 3600, threads.clear)
    wait_until(lambda: threads)

    threads[0].join(0.5)

    assert threads[0].is_alive()
    timer.cancel(entry)


def test_thread_is_a_daemon_with_a_name(timer: Timer) -> None:
    """It keeps no process alive, and people who look at it know whose it is."""
    threads: list[threading.Thread] = []

    timer.at(now(), lambda: threads.append(threading.current_thread()))

    wait_until(lambda: threads)
    assert ("throttle-timer", True) == (threads[0].name, threads[0].daemon)


def test_timer_comes_back_after_it_went(timer: Timer) -> None:
    """The next call gets a thread of its own."""
    threads: list[threading.Thread] = []

    def call_and_go() -> None:
        before = len(threads)
        timer.at(now(), lambda: threads.append(threading.current_thread()))
        wait_until(lambda: len(threads) > before)
        threads[-1].join(10)

    for _ in range(3):
        call_and_go()

    assert 3 == len(set(threads))


def test_no_call_is_lost_while_the_thread_goes(
    timer: Timer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that arrive at the very moment at which it ends are made, and one at a time."""
    monkeypatch.setattr(_timer, "NAP_SECONDS", 0.0005)
    seed = random.randrange(10**6)
    print("seed", seed)
    made: list[int] = []
    threads: set[threading.Thread] = set()
    overlaps: list[str] = []
    alone = threading.Lock()

    def strike() -> None:
        if not alone.acquire(blocking=False):
            overlaps.append(threading.current_thread().name)
            return
        made.append(1)
        threads.add(threading.current_thread())
        alone.release()

    def hammer(number: int) -> None:
        chance = random.Random(seed + number)
        for _ in range(BLOWS):
            timer.at(now() + chance.choice([0, 0.0005, 0.001]), strike)
            # Long enough now and then for the thread to go.
            pause.wait(chance.choice([0, 0, 0.0005, 0.002, 0.005]))

    pause = threading.Event()
    hammers = [threading.Thread(target=hammer, args=(number,)) for number in range(HAMMERS)]
    for thread in hammers:
        thread.start()
    for thread in hammers:
        thread.join(30)

    wait_until(lambda: len(made) + len(overlaps) == HAMMERS * BLOWS)
    assert [] == overlaps
    assert len(threads) > 1, "the thread never went, so that nothing was tested"


def test_timer_recovers_when_no_thread_can_be_started(
    timer: Timer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as there are threads again, it calls what is due."""
    called = threading.Event()
    with monkeypatch.context() as patch:
        refuse_threads(patch)
        with suppress(RuntimeError):
            timer.at(now() + 3600, called.clear)

    timer.at(now(), called.set)

    assert called.wait(5)


def test_lock_leaves_nothing_behind_when_no_thread_can_be_started(
    server: Server, timer: Timer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is then held or refused, it is given back."""
    monkeypatch.setattr("throttle_client._heartbeat.timer", timer)
    refuse_threads(monkeypatch)

    with suppress(RuntimeError), lock(server.url, "A"):
        pass

    assert [] == peers(server.url)


def test_lock_after_a_time_without_threads_is_kept(
    server: Server, timer: Timer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heartbeats go on as soon as there are threads again."""
    monkeypatch.setattr("throttle_client._heartbeat.timer", timer)
    with monkeypatch.context() as patch:
        refuse_threads(patch)
        with suppress(RuntimeError), lock(server.url, "A"):
            pass

    with lock(server.url, "A", expires_in=1, raise_if_lost=False) as lease:
        was_lost = lease.lost.wait(1.2)

    assert not was_lost


def test_spawn_says_whether_a_thread_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller can then do without."""
    called = threading.Event()

    runs = spawn(called.set, "test")

    assert runs
    assert called.wait(10)
    refuse_threads(monkeypatch)
    assert not spawn(called.set, "test")


def test_spawned_thread_is_a_daemon_with_a_name() -> None:
    """It keeps no process alive."""
    threads: list[threading.Thread] = []

    spawn(lambda: threads.append(threading.current_thread()), "throttle-test")

    wait_until(lambda: threads)
    assert ("throttle-test", True) == (threads[0].name, threads[0].daemon)
