"""What several tests need: to wait for something, and to do something beside."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

POLL_SECONDS = 0.01

T = TypeVar("T")


def wait_until(condition: Callable[[], object], seconds: float = 10) -> None:
    """Return as soon as the condition holds.

    Args:
        condition: called every 10 ms; what it raises is raised.
        seconds: how long to wait at most.

    Raises:
        AssertionError: it did not hold within that time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds} s: {condition}"
        time.sleep(POLL_SECONDS)


def in_background(call: Callable[[], T]) -> Future[T]:
    """Call something in a thread of its own, which does not keep the interpreter from its end.

    Args:
        call: what to call.

    Returns:
        What it returns or raises, once it has.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            result = call()
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(result)

    threading.Thread(target=run, daemon=True).start()
    return done
