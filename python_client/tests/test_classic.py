"""Our client with the published server 0.5.13, and while it is replaced by one of ours."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from classic import Classic
from helpers import in_background, wait_until
from observing import peers
from throttle_client import (
    Client,
    NotSupported,
    Peer,
    Refused,
    ThrottleError,
    Timeout,
    UnknownPeer,
    UnknownSemaphore,
    Unreachable,
    lock,
)
from throttle_client.testing import Server


@pytest.fixture
def classic(server: Server) -> Iterator[Classic]:
    """Start a server of the old kind."""
    with Classic(server.url) as classic:
        yield classic


@pytest.fixture
def client(server: Server) -> Client:
    """Look at what the server holds, past the one of the old kind."""
    return Client(server.url)


def known(server: Server) -> list[dict[str, int]]:
    """Ask the server what its peers hold."""
    return [peer["acquired"] for peer in peers(server.url)]


def test_classic_server_overlooks_what_it_does_not_know(server: Server, classic: Classic) -> None:
    """The stand-in does what was recorded of version 0.5.13."""
    pool = Client(classic.url).pool()

    def post(path: str, body: object, method: str = "POST") -> Any:
        answer = pool.request(method, path, json=body, retries=False)
        ours = [name for name in answer.headers if name.lower().startswith("throttle")]
        return answer.status, ours, answer.data.decode()

    wanted = {"expires_in": "5m", "peer_id": 2**40, "acquire": {"A": 1}, "name": "me"}
    status, headers, text = post("/new_peer?queue=false", wanted)
    path = f"/peers/{text}"

    assert (200, []) == (status, headers)
    assert 2**53 < int(text) < 2**64
    assert (200, [], "Ok") == post(path, {"expires_in": "5m", "acquire": {"A": 1}}, "PUT")
    assert [(int(text), {})] == [(peer["id"], peer["acquired"]) for peer in peers(server.url)]
    assert (200, [], text) == post(f"{path}/A?queue=false&nope=1", 2, "PUT")
    assert 501 == post(f"{path}/A", 1, "PUT")[0]
    assert (400, [], "Unknown peer") == post("/peers/7", {"expires_in": "5m"}, "PUT")
    assert 422 == post(path, {"acquire": {"A": 1}}, "PUT")[0]
    assert (404, []) == post("/remove_expired", {})[:2]
    assert 405 == post(path, None, "GET")[0]
    assert [{"id": int(text)}] == json.loads(post("/peers/", None, "GET")[2])


@pytest.mark.parametrize("timeout", [None, 5, 0])
def test_lock_is_held_inside_its_block_only(
    server: Server, client: Client, classic: Classic, timeout: float | None
) -> None:
    """It works as with a server of ours, but for the token; no ghost of a first try stays."""
    for _ in range(2):
        with lock(classic.url, "A", 3, timeout=timeout) as lease:
            lease.check()
            inside = [dict(lease.acquired), *known(server)]
            token = lease.token

        assert [{"A": 3}] * 2 == inside
        assert token is None
        assert [] == peers(server.url)
    assert 5 == client.remainder("A")


def test_client_remembers_that_the_server_is_classic(server: Server, classic: Classic) -> None:
    """Only the first lock tries what the server does not know; then it is three requests each."""
    client = Client(classic.url)
    with lock(client, "A"):
        pass
    before = len(classic.requests)

    with lock(client, "A"):
        pass

    later = [(method, target.partition("?")[0]) for method, target, _ in classic.requests[before:]]
    assert ["POST", "PUT", "DELETE"] == [method for method, _ in later]
    assert later[1][1] == f"{later[2][1]}/A"
    assert [] == peers(server.url)


@pytest.mark.parametrize("timeout", [0, 0.4])
@pytest.mark.parametrize("is_first", [True, False])
def test_timeout_leaves_nothing_behind(
    server: Server, client: Client, classic: Classic, timeout: float, is_first: bool
) -> None:
    """Neither who tries nor who waits stays in the queue, and no peer without locks does."""
    if not is_first:
        with lock(classic.url, "A"):
            pass
    with lock(Peer(client), "mutex"):
        began_at = time.monotonic()

        with pytest.raises(Timeout):
            lock(classic.url, "mutex", timeout=timeout).__enter__()

        assert time.monotonic() - began_at >= timeout
        assert [{"mutex": 1}] == known(server)


def test_waiter_gets_its_turn(server: Server, client: Client, classic: Classic) -> None:
    """A lock that is not free is waited for, and held once it is."""

    def wait() -> list[dict[str, int]]:
        with lock(classic.url, "mutex", timeout=30):
            return known(server)

    with lock(Peer(client), "mutex") as first:
        waiting = in_background(wait)
        wait_until(lambda: any(peer["pending"] for peer in peers(server.url)))
        first.check()

    assert [{"mutex": 1}] == waiting.result(10)
    assert [] == peers(server.url)


def test_waiter_outlives_its_lease(server: Server, client: Client, classic: Classic) -> None:
    """Each ask renews the lease and ends before it does, so that the place is kept."""

    def wait() -> int:
        with lock(classic.url, "mutex", timeout=30, expires_in=0.9) as lease:
            return lease.id

    with lock(Peer(client), "mutex"):
        waiting = in_background(wait)
        wait_until(lambda: any(peer["pending"] for peer in peers(server.url)))
        (waiter,) = [peer["id"] for peer in peers(server.url) if peer["pending"]]
        until = time.monotonic() + 1.6
        while time.monotonic() < until:
            assert waiter in [peer["id"] for peer in peers(server.url)]
            time.sleep(0.02)

    assert waiter == waiting.result(10)


def test_locks_nest(server: Server, classic: Classic) -> None:
    """They belong to one peer, go back one by one, and may not go up."""
    with lock(classic.url, "middle", 2) as outer:
        with lock(classic.url, "A") as inner:
            held = known(server)
        with pytest.raises(Refused, match="This may deadlock") as caught:
            lock(classic.url, "high").__enter__()
        outer.check()
        after = known(server)

    assert isinstance(caught.value, ValueError)
    assert caught.value.code is None
    assert outer.id == inner.id
    assert [{"middle": 2, "A": 1}] == held
    assert [{"middle": 2}] == after
    assert [] == peers(server.url)


def test_same_semaphore_is_an_error_before_any_request(classic: Classic) -> None:
    """That is known without the server."""
    with lock(classic.url, "A"):
        before = len(classic.requests)
        with pytest.raises(ValueError, match="holds a lock of `A` already"):
            lock(classic.url, "A").__enter__()

        assert before == len(classic.requests)


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("timeout", [None, 0])
def test_several_semaphores_are_not_supported(
    server: Server, classic: Classic, is_first: bool, timeout: float | None
) -> None:
    """That server grants one after another only; it is told so, and nothing stays behind."""
    if not is_first:
        with lock(classic.url, "A"):
            pass

    with pytest.raises(NotSupported, match="several semaphores"):
        lock(classic.url, {"A": 1, "mutex": 1}, timeout=timeout).__enter__()

    assert [] == peers(server.url)


def test_several_inside_a_lock_are_not_supported(server: Server, classic: Classic) -> None:
    """The outer lock stays."""
    with lock(classic.url, "high") as outer:
        with pytest.raises(NotSupported):
            lock(classic.url, {"A": 1, "mutex": 1}).__enter__()
        outer.check()

        assert [{"high": 1}] == known(server)
    assert [] == peers(server.url)


def test_mapping_of_one_semaphore_is_supported(server: Server, classic: Classic) -> None:
    """One is one, however it is spelled."""
    with lock(classic.url, {"A": 2}):
        assert [{"A": 2}] == known(server)
    assert [] == peers(server.url)


@pytest.mark.parametrize(
    ("semaphore", "count", "error"), [("nope", 1, UnknownSemaphore), ("mutex", 2, Refused)]
)
@pytest.mark.parametrize("is_first", [True, False])
def test_refusal_leaves_nothing_behind(
    server: Server,
    classic: Classic,
    is_first: bool,
    semaphore: str,
    count: int,
    error: type[ThrottleError],
) -> None:
    """What the server says in words is understood, and the peer that was made for it is gone."""
    if not is_first:
        with lock(classic.url, "A"):
            pass

    with pytest.raises(error):
        lock(classic.url, semaphore, count).__enter__()

    assert [] == peers(server.url)


def test_calls_of_the_client_work(server: Server, classic: Classic) -> None:
    """All calls that version knows, and the errors that it says in words."""
    client = Client(classic.url)

    peer = client.new_peer(60)
    acquired = [client.acquire(peer, "high", expires_in=60), client.acquire(peer, "A", 2)]
    client.heartbeat(peer, 60)
    left = [client.remainder("high"), client.remainder("A")]
    client.release_lock(peer, "A")
    client.release(peer)
    client.restore(peer, {"A": 4}, 60)

    assert [True, True] == acquired
    assert [1, 3] == left
    assert client.is_acquired(peer)
    assert [{"A": 4}] == known(server)
    with pytest.raises(UnknownPeer) as caught:
        client.heartbeat(7, 60)
    assert caught.value.instance is None
    with pytest.raises(Refused, match="404"):
        client.remove_expired()


def test_smaller_count_is_refused_at_once(server: Server, classic: Classic) -> None:
    """That version makes no lock smaller; asking for 30 seconds does not change that."""
    client = Client(classic.url)
    peer = client.new_peer(60)
    client.acquire(peer, "A", 3)
    before = len(classic.requests)

    with pytest.raises(ThrottleError, match="Shrinking") as caught:
        in_background(lambda: client.acquire(peer, "A", 1)).result(5)

    assert not isinstance(caught.value, Unreachable)
    assert 1 == len(classic.requests) - before
