"""What can be decorated with a lock beside plain functions, and what is refused in words."""

import asyncio
import inspect
from collections.abc import Coroutine, Generator, Iterator
from functools import partial
from typing import Any

import pytest

from observing import peers
from throttle_client import Client, lock
from throttle_client.testing import Server


async def look(server: Server, semaphore: str) -> int:
    """Ask how many permits are left."""
    await asyncio.sleep(0)
    return Client(server.url).remainder(semaphore)


def generate() -> Iterator[int]:
    """Generate."""
    yield 1


def test_function_that_returns_a_coroutine_is_refused(server: Server) -> None:
    """The coroutine would run without the lock; it is closed instead, and the lock given back."""
    made: list[Coroutine[Any, Any, int]] = []

    @lock(server.url, "A")
    def begin() -> Coroutine[Any, Any, int]:
        made.append(look(server, "A"))
        return made[0]

    with pytest.raises(TypeError, match=r"begin returns a generator or coroutine.*with lock\("):
        _ = begin()

    assert inspect.CORO_CLOSED == inspect.getcoroutinestate(made[0])
    assert [] == peers(server.url)


def test_function_that_returns_a_generator_is_refused(server: Server) -> None:
    """The generator would run without the lock; it is closed instead, and the lock given back."""
    made: list[Generator[int]] = []

    @lock(server.url, "A")
    def begin() -> Generator[int]:
        made.append(number for number in [1])
        return made[0]

    with pytest.raises(TypeError, match=r"begin returns a generator or coroutine.*with lock\("):
        _ = begin()

    assert inspect.GEN_CLOSED == inspect.getgeneratorstate(made[0])
    assert [] == peers(server.url)


def test_partial_of_a_coroutine_function_holds_the_lock_while_it_runs(server: Server) -> None:
    """It is as good as the function itself."""
    work = lock(server.url, "A", 2)(partial(look, server))

    left = asyncio.run(work("A"))

    assert 3 == left
    assert [] == peers(server.url)


def test_partial_of_a_function_holds_the_lock_during_each_call(server: Server) -> None:
    """It needs no name for that."""
    work = lock(server.url, "A", 2)(partial(Client(server.url).remainder, "A"))

    assert [3, 3] == [work(), work()]
    assert [] == peers(server.url)


def test_partial_of_a_generator_is_refused(server: Server) -> None:
    """It would run after its lock was given back."""
    with pytest.raises(TypeError, match=r"generate\w*.* is a generator"):
        lock(server.url, "A")(partial(generate))
