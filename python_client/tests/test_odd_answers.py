"""Answers that no Throttle server gives, or in an odd order: nobody believes in a lock by them."""

import sys
import time
from collections.abc import Iterator

import pytest

from helpers import in_background, wait_until
from recorder import Recorder
from rivals import known, occupy
from throttle_client import Client, LockLost, Peer, Refused, Timeout, Unreachable, lock
from throttle_client._coming_back import beat, restore
from throttle_client._durations import now
from throttle_client._giving_back import give_back
from throttle_client._holding import Holding
from throttle_client._wire import Answer, Request, run
from throttle_client.testing import Server

OURS = 5_000_000_000
GRANT = {"Throttle-Token": "1", "Throttle-Instance": "2", "Throttle-Expires-In": "1000ms"}


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """Start a server of canned answers, which knows the id that is drawn."""
    monkeypatch.setattr("throttle_client._holding.draw_id", lambda: OURS)
    with Recorder() as recorder:
        yield recorder


def test_page_instead_of_a_heartbeat_is_no_renewal(recorder: Recorder) -> None:
    """A maintenance page with status 200 says nothing of the lease, which is lost in time."""
    recorder.answers = [(200, GRANT, str(OURS)), (200, {}, "<html>back soon</html>")]

    with lock(recorder.url, "A", expires_in=1, raise_if_lost=False) as lease:
        is_lost = lease.lost.wait(5)

    assert is_lost


def test_grant_to_somebody_else_is_refused(recorder: Recorder) -> None:
    """The other peer is left alone, and our own ask is withdrawn."""
    recorder.answers = [(200, GRANT, "77"), (200, {"Throttle-Instance": "2"}, '"Peer released"')]

    with pytest.raises(Refused, match="77"), lock(recorder.url, "A"):
        pass

    assert f"/peers/{OURS}" in recorder.targets
    assert "/peers/77" not in recorder.targets


def test_server_that_knows_nobody_is_not_hurried(recorder: Recorder) -> None:
    """Whoever is made anew again and again pauses in between."""
    recorder.answers = [(400, {"Throttle-Instance": "2"}, "Unknown peer")]

    with pytest.raises(Timeout), lock(recorder.url, "A", timeout=0.5):
        pass

    assert len(recorder.requests) < 20


def test_deeply_nested_problem_is_a_refusal(recorder: Recorder) -> None:
    """A problem document that nobody can read is shown as it is, in part."""
    headers = {"Content-Type": "application/problem+json"}
    recorder.answers = [(409, headers, "[" * 100_000)]

    with pytest.raises(Refused) as caught:
        Client(recorder.url).remainder("A")

    assert len(str(caught.value)) < 1000


def test_restart_that_a_heartbeat_notices_first_is_no_loss() -> None:
    """While the release is on its way, a heartbeat may restore the peer under the new start."""
    holding = Holding(Client("http://127.0.0.1:9"), 60)
    holding.grant({"A": 1}, Answer(200, "", now(), instance=1))

    class Restarted:
        async def send(self, request: Request, timeout: float) -> Answer:
            holding.instance = 2
            return Answer(200, '"Peer not found"', now(), instance=2)

        async def sleep(self, seconds: float) -> None:
            raise AssertionError("there is nothing to wait for")

    run(give_back(Restarted(), holding, ["A"]))

    assert holding.loss is None


def test_grant_of_a_start_that_is_gone_does_not_count_after_a_restore() -> None:
    """The new start of the server was told what is held, and this was not part of it."""
    holding = Holding(Client("http://127.0.0.1:9"), 60)
    asked_at = now()
    holding.grant({"B": 1}, Answer(200, "", now(), instance=1))
    holding.confirm(["B"], Answer(200, "Ok", now(), instance=2))

    counts = holding.grant({"A": 1}, Answer(200, "", asked_at, token=7, instance=1))

    assert not counts
    assert holding.acquired == {"B": 1}
    assert "A" not in holding.tokens


def test_heartbeat_of_a_start_that_was_told_nothing_is_no_renewal() -> None:
    """An ask of before that was late has made a peer of the same id there; it must be restored."""
    holding = Holding(Client("http://127.0.0.1:9"), 60)
    holding.grant({"B": 1}, Answer(200, "", now() - 30, instance=1))
    left = holding.left()
    sent: list[str] = []

    class Restarted:
        async def send(self, request: Request, timeout: float) -> Answer:
            sent.append(request.method)
            if request.method == "PUT":
                return Answer(200, "Ok", now(), instance=2)
            return Answer(
                409, "Restore is not allowed to change existing peers.", now(), instance=2
            )

        async def sleep(self, seconds: float) -> None:
            raise AssertionError("there is nothing to wait for")

    with pytest.raises(Unreachable):
        run(beat(Restarted(), holding))

    assert sent == ["PUT", "POST"]
    assert holding.left() <= left


def test_grant_that_comes_while_the_peer_is_restored_without_it_is_lost() -> None:
    """Its answer was late, and the new start of the server knows nothing of it."""
    holding = Holding(Client("http://127.0.0.1:9"), 60)
    holding.grant({"B": 1}, Answer(200, "", now(), instance=1))

    class Restarted:
        async def send(self, request: Request, timeout: float) -> Answer:
            holding.grant({"A": 1}, Answer(200, "", now(), token=7, instance=1))
            return Answer(200, "Ok", now(), instance=2)

        async def sleep(self, seconds: float) -> None:
            raise AssertionError("there is nothing to wait for")

    with pytest.raises(LockLost, match="restarted"):
        run(restore(Restarted(), holding))


@pytest.mark.parametrize("heard", ["Ok", "conflict"])
def test_grant_that_comes_after_a_restore_whose_answer_was_lost_is_not_renewed(heard: str) -> None:
    """The next heartbeat, or the next try to restore it, finds out."""
    holding = Holding(Client("http://127.0.0.1:9"), 60)
    holding.grant({"B": 1}, Answer(200, "", now(), instance=1))
    answers = {
        "Ok": Answer(200, "Ok", now() + 1, instance=2),
        "conflict": Answer(
            409, "Restore is not allowed to change existing peers.", now() + 1, instance=2
        ),
    }

    class Restarted:
        is_heard = False

        async def send(self, request: Request, timeout: float) -> Answer:
            if self.is_heard:
                return answers[heard if request.method == "PUT" else "conflict"]
            self.is_heard = True
            raise Unreachable("the answer is lost")

        async def sleep(self, seconds: float) -> None:
            raise AssertionError("there is nothing to wait for")

    wire = Restarted()
    with pytest.raises(Unreachable):
        run(restore(wire, holding))
    holding.grant({"A": 1}, Answer(200, "", now(), token=7, instance=1))
    left = holding.left()
    with pytest.raises(Unreachable):
        run(beat(wire, holding) if heard == "Ok" else restore(wire, holding))

    assert holding.left() <= left


def test_grant_of_the_new_start_that_comes_while_the_peer_is_restored_is_asked_for_again() -> None:
    """Another thread asked again, and was served before the answer to the restore was read."""
    holding = Holding(Client("http://127.0.0.1:9"), 60)
    holding.grant({"B": 1}, Answer(200, "", now(), instance=1))
    grant = Answer(200, "", now(), token=7, instance=2)
    counts: list[bool] = []

    class Restarted:
        async def send(self, request: Request, timeout: float) -> Answer:
            counts.append(holding.grant({"A": 1}, grant))
            return Answer(200, "Ok", now(), instance=2)

        async def sleep(self, seconds: float) -> None:
            raise AssertionError("there is nothing to wait for")

    run(restore(Restarted(), holding))
    counts.append(holding.grant({"A": 1}, grant))

    assert counts == [False, True]
    assert not holding.is_lost()
    assert holding.acquired == {"A": 1, "B": 1}


def test_peer_does_not_acquire_what_is_about_to_be_released(server: Server) -> None:
    """A release that is under way in the background would hit the new lock."""
    holder = occupy(server)
    peer = Peer(Client(server.url))
    with pytest.raises(Timeout), lock(peer, "mutex", timeout=0.05):
        pass
    peer.holding.count_withdrawals(1)

    asking = in_background(lambda: peer.acquire("mutex"))
    time.sleep(0.2)
    is_early = asking.done()
    Client(server.url).release(holder)
    peer.holding.count_withdrawals(-1)

    assert not is_early
    assert asking.result(10)
    wait_until(lambda: known(server)[peer.id]["acquired"] == {"mutex": 1})


def test_shared_lock_object_never_confuses_its_threads(server: Server) -> None:
    """However often threads alternate, each gives its own lease back."""
    shared = lock(server.url, "A")
    wrong: list[str] = []
    until = time.monotonic() + 1

    def work() -> None:
        while time.monotonic() < until:
            with shared as lease:
                if lease.is_given_back:
                    wrong.append("given back while its thread is inside")
            if not lease.is_given_back:
                wrong.append("another one was given back")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        workers = [in_background(work) for _ in range(30)]
        for worker in workers:
            worker.result(30)
    finally:
        sys.setswitchinterval(interval)

    assert [] == wrong
