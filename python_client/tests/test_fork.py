"""Child processes: they own nothing of what their parent holds, and can lock for themselves."""

import json
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from helpers import in_background
from observing import peers
from proxy import Proxy
from scripts import run_script
from throttle_client import Client, Peer, Timeout, lock
from throttle_client._local import find_local_peer
from throttle_client.testing import Server

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on Windows")

CHILD_SECONDS = 20
FORKS = 50


class Child:
    """A child process that makes one call, and ends without a word to anybody else."""

    def __init__(self, call: Callable[[], object]) -> None:
        """Fork."""
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            # From Python 3.12 on, fork warns where there are threads, as there are here on purpose.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if self._pid == 0:
            # Whatever happens, this copy of pytest must not go on.
            try:
                # One that hangs is ended by the system; pytest's handler is for its own process.
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(CHILD_SECONDS)
                os.close(reading)
                with os.fdopen(writing, "w") as pipe:
                    pipe.write(_said_by(call))
            finally:
                os._exit(0)
        os.close(writing)
        self._pipe = os.fdopen(reading)

    def result(self) -> Any:
        """Wait for its end, and return what the call returned, or `Error: text` if it raised.

        A child that hangs is killed, and has said nothing.
        """
        with self._pipe:
            said = self._pipe.read()
        os.waitpid(self._pid, 0)
        return json.loads(said or '"nothing"')


def _said_by(call: Callable[[], object]) -> str:
    try:
        return json.dumps(call())
    except BaseException as error:
        return json.dumps(f"{type(error).__name__}: {error}")


def locked(url: str, semaphore: str) -> int:
    """Take a lock and give it back; return the id of the peer."""
    with lock(url, semaphore, timeout=10) as lease:
        lease.check()
        return lease.id


def test_lease_is_not_good_in_a_child(server: Server) -> None:
    """What the parent holds is not the child's."""
    with lock(server.url, "mutex") as lease:
        said = Child(lease.check).result()
        lease.check()

    assert said.startswith("LockLost: ")
    assert "parent" in said


def test_child_that_leaves_the_block_releases_nothing(server: Server) -> None:
    """The lock goes on being held, under the same token."""
    held = lock(server.url, "mutex")
    with held as lease:
        said = Child(lambda: held.__exit__(None, None, None)).result()

        (peer,) = peers(server.url)
        lease.check()
    assert said is None
    assert {"mutex": lease.token} == peer["tokens"]
    assert [] == peers(server.url)


def test_child_that_ends_inside_the_block_releases_nothing(server: Server) -> None:
    """It may leave with `sys.exit`, through the blocks of its parent, which goes on."""
    source = """
        import os, sys
        from throttle_client import Client, lock

        url = sys.argv[1]
        with lock(url, "high"), lock(url, "A") as lease:
            child = os.fork()
            if child == 0:
                sys.exit(7)
            _, status = os.waitpid(child, 0)
            lease.check()
            print(os.waitstatus_to_exitcode(status), Client(url).remainder("A"))
        print(Client(url).remainder("A"))
    """

    # Without warnings as errors: from Python 3.12 on, fork warns where there are threads.
    done = run_script(source, server.url, options=())

    assert (0, "7 4\n5\n", "") == done


def test_child_sends_nothing_on_behalf_of_its_parent(proxy: Proxy) -> None:
    """No heartbeat of its own, and none of the parent's connections is used."""

    def outlive_the_lease() -> list[str]:
        time.sleep(1.2)
        return [thread.name for thread in threading.enumerate()]

    with lock(proxy.url, "mutex", expires_in=1) as lease:
        threads = Child(outlive_the_lease).result()
        lease.check()

    assert [threading.current_thread().name] == threads
    assert 1 == proxy.connections


def test_parent_keeps_its_lock_and_its_connection(proxy: Proxy) -> None:
    """Children that come, lock and go are not noticed."""
    with lock(proxy.url, "mutex") as lease:
        ids = [Child(lambda: locked(proxy.url, "A")).result() for _ in range(3)]
        lease.check()
        (peer,) = peers(proxy.url)
    paths = [path for _, path in proxy.requests if str(lease.id) in path]

    assert {"mutex": lease.token} == peer["tokens"]
    assert 3 == len({*ids, lease.id} - {lease.id})
    assert [f"/peers/{lease.id}"] == paths
    # One of the parent, one a child, and one a look at the peers.
    assert 5 == proxy.connections


def test_child_takes_a_lock_of_its_own(server: Server) -> None:
    """Of the same semaphore, at the same level: it does not nest in what the parent holds."""
    with lock(server.url, "middle") as lease:
        child_id = Child(lambda: locked(server.url, "middle")).result()

    assert isinstance(child_id, int), child_id
    assert lease.id != child_id


def test_child_begins_without_the_peers_of_its_parent(server: Server) -> None:
    """In the thread that forked as well as in the tasks that it may start."""
    with lock(server.url, "middle"):
        said = Child(lambda: find_local_peer(server.url) is None).result()
        is_still_there = find_local_peer(server.url) is not None

    assert said is True
    assert is_still_there


def test_child_waits_like_everybody_else(server: Server) -> None:
    """What its parent holds is taken."""

    def wait() -> None:
        with lock(server.url, "mutex", timeout=0.1):
            pass

    with lock(server.url, "mutex"):
        said = Child(wait).result()

    assert said.startswith(Timeout.__name__)


def test_child_may_use_the_lock_object_of_its_parent(server: Server) -> None:
    """It takes it anew, gives that back, and then leaves the block of its parent."""
    shared = lock(server.url, "A")

    def nest() -> list[int]:
        with shared as own:
            seen = [len(peers(server.url)), own.id]
        shared.__exit__(None, None, None)
        return [*seen, len(peers(server.url))]

    with shared as lease:
        said = Child(nest).result()
        lease.check()

    assert [2, 1] == [said[0], said[2]], said
    assert lease.id != said[1]
    assert [] == peers(server.url)


def test_child_may_use_the_peer_of_its_parent(server: Server) -> None:
    """Its lock is that of another peer, though the object is the same."""
    peer = Peer.from_server_url(server.url)

    def nest() -> list[int]:
        with lock(peer, "A") as lease:
            return [len(peers(server.url)), lease.id]

    with lock(peer, "mutex") as lease:
        said = Child(nest).result()
        lease.check()

    assert 2 == said[0], said
    assert lease.id != said[1]


@pytest.mark.parametrize(
    "call",
    [
        lambda peer: peer.remove_from_server(),
        lambda peer: peer.release("A"),
        lambda peer: peer.heartbeat(),
    ],
)
def test_child_releases_and_renews_nothing_of_its_parent(
    server: Server, call: Callable[[Peer], object]
) -> None:
    """What the parent holds is lost for a child; it says so, and sends nothing."""
    peer = Peer.from_server_url(server.url)
    with lock(peer, "A") as lease:
        said = Child(lambda: call(peer)).result()

        assert {"A": lease.token} == peers(server.url)[0]["tokens"]

    assert f"LockLost: peer {lease.id} is held by the parent process" == said


def test_lock_of_a_child_is_kept(server: Server) -> None:
    """Heartbeats work in a child, too."""

    def hold() -> bool:
        with lock(server.url, "A", expires_in=1) as lease:
            was_lost = lease.lost.wait(1.2)
            lease.check()
        return was_lost

    with lock(server.url, "mutex", expires_in=1) as lease:
        said = Child(hold).result()
        lease.check()

    assert said is False


def test_child_tells_nobody_that_a_lock_of_its_parent_is_lost(server: Server) -> None:
    """The callback is the parent's, whose lock is good."""

    def outlive_the_lease() -> list[str]:
        time.sleep(0.9)
        lease.lost.is_set()
        return calls

    calls: list[str] = []
    with lock(server.url, "A", expires_in=0.8, on_lost=lambda _: calls.append("lost")) as lease:
        said = Child(outlive_the_lease).result()

    assert [] == said


def test_lost_flag_of_a_parent_does_not_block_a_child(server: Server) -> None:
    """Not even if another thread was writing in the books at the moment of the fork."""

    def outlive_the_lease() -> str:
        signal.alarm(5)
        time.sleep(0.8)
        lease.lost.is_set()
        return "done"

    with lock(server.url, "A", expires_in=0.6, raise_if_lost=False) as lease:
        with lease.holding.mutex:
            child = Child(outlive_the_lease)
        said = child.result()

    assert "done" == said


def test_forks_while_threads_lock_do_not_hang(server: Server) -> None:
    """Whatever the threads were about to do at that moment, each child gets its lock."""
    end = threading.Event()

    def lock_all_the_time() -> None:
        while not end.is_set():
            with lock(server.url, "A", expires_in=1):
                pass

    with lock(server.url, "mutex", expires_in=1) as lease:
        threads = [in_background(lock_all_the_time) for _ in range(4)]
        children = [Child(lambda: locked(server.url, "B")).result() for _ in range(FORKS)]
        end.set()
        for thread in threads:
            thread.result(10)
        lease.check()

    assert FORKS == len({child for child in children if isinstance(child, int)}), children
    assert [] == peers(server.url)


def pid_shown(url: str, peer_id: int) -> str:
    """Look up of which process the server says that it made a peer."""
    return next(str(peer["labels"]["pid"]) for peer in peers(url) if peer["id"] == peer_id)


def test_child_has_a_process_id_of_its_own(server: Server) -> None:
    """Its locks show it, whether it asks by URL or by a peer of its parent; the rest is kept."""
    peer = Peer(Client(server.url), name="me", labels={"job": "nightly"})
    manager = lock(server.url, "A", labels={"job": "nightly"})

    def look(given: Any) -> list[object]:
        with lock(given, "B") as lease:
            (known,) = [known for known in peers(server.url) if known["id"] == lease.id]
            labels = known["labels"]
            return [labels["pid"] == str(os.getpid()), labels.get("job"), known["name"]]

    def enter() -> list[bool]:
        with manager as lease:
            return [pid_shown(server.url, lease.id) == str(os.getpid())]

    with manager as lease:
        by_url = Child(lambda: look(server.url)).result()
        by_peer = Child(lambda: look(peer)).result()
        by_manager = Child(enter).result()

        ours = [pid_shown(server.url, peer_id) for peer_id in (lease.id, peer.id)]

    assert [True, None] == by_url[:2]
    assert [True, "nightly", "me"] == by_peer
    assert [True] == by_manager
    assert [str(os.getpid())] * 2 == ours


def test_client_may_be_used_by_parent_and_child_at_once(server: Server) -> None:
    """Neither gets an answer that was meant for the other."""
    client = Client(server.url)
    client.remainder("A")

    def ask(semaphore: str) -> list[int]:
        return sorted({client.remainder(semaphore) for _ in range(100)})

    child = Child(lambda: ask("mutex"))
    ours = ask("A")

    assert [5] == ours
    assert [1] == child.result()


def test_child_of_a_coroutine_has_a_loop_of_its_own(server: Server) -> None:
    """It may start another one and lock there, while the parent goes on in its own."""
    source = """
        import asyncio, os, sys
        import aiohttp
        from throttle_client import Client, lock

        url = sys.argv[1]

        async def locked():
            async with lock(url, "A") as lease:
                return lease.id

        async def parent():
            async with lock(url, "A") as lease:
                child = os.fork()
                if child == 0:
                    os._exit(8 if asyncio.run(locked()) != lease.id else 9)
                _, status = os.waitpid(child, 0)
                lease.check()
                print(os.waitstatus_to_exitcode(status), Client(url).remainder("A"))

        asyncio.run(parent())
        print(Client(url).remainder("A"))
    """

    done = run_script(source, server.url, options=())

    assert (0, "8 4\n5\n", "") == done
