"""Releases that get no answer: one thread sends them, and forgets none."""

import asyncio
import threading

import pytest

from helpers import wait_until
from observing import eventually, peers
from proxy import Proxy
from rivals import known, occupy
from throttle_client import Client, _background, _giving_back, lock
from throttle_client._wire import Backoff
from throttle_client.testing import Server

WAITERS = 200


# Those of earlier tests go on for a lease if their server is gone.
others: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def _know_others() -> None:
    """Remember whose threads are not ours."""
    others.clear()
    others.update(threading.enumerate())


def workers() -> int:
    """Count the threads that release in the background, for this test."""
    ours = set(threading.enumerate()) - others
    return sum(1 for thread in ours if thread.name == "throttle-release")


async def test_many_cancelled_waiters_need_one_thread(
    server: Server, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the server hangs, they wait in one line; once it goes on, all of them are withdrawn."""
    monkeypatch.setattr(_giving_back, "RELEASE_SECONDS", 0.2)
    holder = await asyncio.to_thread(occupy, server)

    async def wait() -> None:
        async with lock(proxy.url, "mutex"):
            pass

    tasks = [asyncio.create_task(wait()) for _ in range(WAITERS)]
    await eventually(lambda: len(peers(server.url)) == WAITERS + 1)
    proxy.hang()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert all(task.cancelled() for task in tasks)
    assert WAITERS + 1 == len(peers(server.url))
    assert 1 == workers()
    proxy.pass_on()
    await eventually(lambda: {holder} == known(server).keys())
    await eventually(lambda: not workers())


def test_release_without_a_thread_goes_with_the_next_one(
    server: Server, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no thread can be started, nothing is lost that a later one could send."""
    client = Client(proxy.url)
    with monkeypatch.context() as patch:
        patch.setattr(_background, "spawn", lambda call, name: False)
        with lock(client, "A") as first:
            proxy.refuse()
        proxy.pass_on()
    assert [first.id] == list(known(server))

    with lock(client, "A"):
        proxy.refuse()
    proxy.pass_on()

    wait_until(lambda: not peers(server.url))


def test_new_ask_waits_for_the_release_of_the_last_one(
    server: Server, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that lives on does not ask for what is about to be released."""
    has_failed = threading.Event()

    class Patient(Backoff):
        def next(self, asked_for: float | None = None) -> float:
            has_failed.set()
            return 0.5

    monkeypatch.setattr(_background, "Backoff", Patient)
    with lock(proxy.url, "high") as outer:
        with lock(proxy.url, "A"):
            proxy.refuse()
        assert has_failed.wait(5)
        proxy.pass_on()

        with lock(proxy.url, "A", timeout=10):
            wait_until(lambda: not workers())

            assert {"high": 1, "A": 1} == known(server)[outer.id]["acquired"]

    assert [] == peers(server.url)
