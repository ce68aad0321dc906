"""`lock`: the forms in which it can be called, what is wrong at once, and odd names."""

import math
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from helpers import in_background, wait_until
from observing import peers
from proxy import Proxy
from recorder import Recorder
from throttle_client import Client, InvalidUrl, Peer, Refused, Timeout, UnknownSemaphore, lock
from throttle_client.testing import Server, StartServer

ODD_NAMES = ["a/b", "..", "%41", "ä", "new\nline", "is_acquired", "🚦", "a b?c#d&e=f"]
NOWHERE = "http://127.0.0.1:9"

FORMS: dict[str, Callable[[str], Any]] = {
    "URL": lambda url: url,
    "Peer": Peer.from_server_url,
    "Client": Client,
}


@pytest.fixture
def client(server: Server) -> Client:
    """Talk to a server."""
    return Client(server.url)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_server_may_be_given_in_three_forms(
    server: Server, client: Client, form: Callable[[str], Any]
) -> None:
    """A URL, a `Peer` or a `Client` stands first; all of them hold, and leave nothing behind."""
    for timeout in (None, 5, 0):
        with lock(form(server.url), "A", 2, timeout=timeout) as lease:
            assert 3 == client.remainder("A")
            assert [lease.id] == [peer["id"] for peer in peers(server.url)]

        assert 5 == client.remainder("A")
        assert [] == peers(server.url)


def test_lock_of_a_peer_belongs_to_that_peer(server: Server) -> None:
    """It has the id and the lease that the peer has; a lease of the lock's own is not asked for."""
    peer = Peer(Client(server.url), expiration_time=30)
    peer_id = peer.id

    with lock(peer, "A", expires_in=600) as lease:
        (known,) = peers(server.url)

    assert [peer_id] * 2 == [lease.id, known["id"]]
    assert {"A": 1} == known["acquired"]
    assert 0 < int(known["expires_in"].removesuffix("ms")) <= 30_000
    assert timedelta(seconds=30) == lease.expiration_time


def test_peer_can_be_used_again_after_its_block(server: Server) -> None:
    """Its last lock takes the peer along; the next one begins a new life under a new id."""
    peer = Peer.from_server_url(server.url)
    ids = []

    for _ in range(3):
        with lock(peer, "mutex", timeout=0):
            ids.append(peer.id)
            assert {"mutex": 1} == peer.acquired
        assert not peer.has_acquired()

    assert 3 == len(set(ids))
    assert [] == peers(server.url)


@pytest.mark.parametrize("position", ["fourth", "keyword"])
@pytest.mark.parametrize("timeout", [0.2, timedelta(milliseconds=200)])
def test_timeout_after_a_url(
    server: Server, client: Client, position: str, timeout: timedelta | float
) -> None:
    """After a URL, the fourth argument is the timeout."""
    with lock(Peer(client), "mutex"):
        began_at = time.monotonic()
        if position == "fourth":
            waiting = lock(server.url, "mutex", 1, timeout)
        else:
            waiting = lock(server_url=server.url, semaphore="mutex", count=1, timeout=timeout)

        with pytest.raises(Timeout):
            waiting.__enter__()

    assert time.monotonic() - began_at >= 0.2


@pytest.mark.parametrize("timeout", [0, 0.0, timedelta(0)])
def test_try_does_not_queue(timeout: timedelta | float) -> None:
    """A timeout of 0 is a real try: one request that asks not to be queued."""
    with Recorder() as recorder:
        problem = '{"code": "would_wait", "detail": "not free"}'
        recorder.answers = [(409, {"Content-Type": "application/problem+json"}, problem)]

        with pytest.raises(Timeout, match="1 of `A` is not free"):
            lock(recorder.url, "A", timeout=timeout).__enter__()

        assert ["/new_peer?queue=false"] == recorder.targets


@pytest.mark.parametrize("form", ["Peer", "Client"])
def test_heartbeat_interval_after_a_peer_or_client(server: Server, form: str) -> None:
    """After a `Peer` or `Client`, the fourth argument is the interval, the fifth the timeout."""
    with Proxy(server.url) as proxy:
        given = FORMS[form](proxy.url)

        with lock(given, "mutex", 1, 0.05, 0.2):
            wait_until(lambda: 3 <= len(heartbeats(proxy)))
            waiting = lock(FORMS[form](proxy.url), "mutex", 1, None, 0.2)
            with pytest.raises(Timeout, match=r"0\.2 seconds"):
                in_background(waiting.__enter__).result(10)
            beats = len(heartbeats(proxy))

    assert beats >= 3


def heartbeats(proxy: Proxy) -> list[str]:
    """Find the requests for a peer alone, which are not the first of a lock."""
    return [path for method, path in proxy.requests if method == "PUT" and path.count("/") == 2]


def test_keyword_for_a_peer(client: Client) -> None:
    """`peer=` takes what stands first otherwise, as 0.2.0 called it."""
    with lock(peer=Peer(client), semaphore="A", count=2, heartbeat_interval=None, timeout=1):
        assert 3 == client.remainder("A")
    with lock(peer=client, semaphore="A"):
        assert 4 == client.remainder("A")


@pytest.mark.parametrize("key", ["timeout", "expires_in", "heartbeat_interval"])
@pytest.mark.parametrize("duration", [-1, -0.001, timedelta(seconds=-1), math.nan, -math.inf])
def test_negative_duration_is_refused(key: str, duration: timedelta | float) -> None:
    """The error names the argument and what was given."""
    with pytest.raises(ValueError, match=rf"{key} must be 0 or more, not") as caught:
        lock(NOWHERE, "A", **{key: duration})  # type: ignore[call-overload]  # pyright: ignore

    assert repr(duration) in str(caught.value)


@pytest.mark.parametrize("key", ["expires_in", "heartbeat_interval"])
@pytest.mark.parametrize("duration", [0, timedelta(0), math.inf])
def test_lease_and_interval_are_longer_than_zero(key: str, duration: timedelta | float) -> None:
    """Without a length or an end, neither makes sense."""
    with pytest.raises(ValueError, match=f"{key} must be longer than zero and finite"):
        lock(NOWHERE, "A", **{key: duration})  # type: ignore[call-overload]  # pyright: ignore


@pytest.mark.parametrize("timeout", [math.inf, timedelta.max, 10**12, None])
def test_timeout_may_be_endless(server: Server, timeout: timedelta | float | None) -> None:
    """However long a caller would wait, a free lock is acquired at once."""
    with lock(server.url, "A", timeout=timeout) as lease:
        lease.check()


WRONG_TYPES: dict[str, tuple[tuple[object, ...], dict[str, object]]] = {
    "nothing": ((), {}),
    "no semaphore": ((NOWHERE,), {}),
    "count is a bool": ((NOWHERE, "A", True), {}),
    "count is a float": ((NOWHERE, "A", 1.0), {}),
    "count is a text": ((NOWHERE, "A", "1"), {}),
    "count is None": ((NOWHERE, "A", None), {}),
    "count in a mapping is a bool": ((NOWHERE, {"A": True}), {}),
    "count in a mapping is a float": ((NOWHERE, {"A": 2.0}), {}),
    "name in a mapping is no text": ((NOWHERE, {1: 1}), {}),
    "semaphore is None": ((NOWHERE, None), {}),
    "semaphore is a number": ((NOWHERE, 5), {}),
    "semaphore is bytes": ((NOWHERE, b"A"), {}),
    "semaphore is a list": ((NOWHERE, ["A", "B"]), {}),
    "semaphore is a set of pairs of letters": ((NOWHERE, {"AB"}), {}),
    "timeout is a text": ((NOWHERE, "A"), {"timeout": "5m"}),
    "timeout is a bool": ((NOWHERE, "A"), {"timeout": True}),
    "expires_in is a text": ((NOWHERE, "A"), {"expires_in": "5m"}),
    "expires_in is None": ((NOWHERE, "A"), {"expires_in": None}),
    "heartbeat_interval is a bool": ((NOWHERE, "A"), {"heartbeat_interval": False}),
    "server is a number": ((8000, "A"), {}),
    "server is None": ((None, "A"), {}),
    "unknown keyword": ((NOWHERE, "A"), {"time_out": 5}),
    "too many after a URL": ((NOWHERE, "A", 1, None, None), {}),
    "too many after a Client": ((Client(NOWHERE), "A", 1, None, None, None), {}),
    "semaphore twice": ((NOWHERE, "A"), {"semaphore": "A"}),
    "timeout twice": ((NOWHERE, "A", 1, 5), {"timeout": 5}),
    "server twice": ((NOWHERE, "A"), {"server_url": NOWHERE}),
    "URL and peer": ((), {"server_url": NOWHERE, "peer": Client(NOWHERE), "semaphore": "A"}),
    "on_lost is no function": ((NOWHERE, "A"), {"on_lost": "call me"}),
    "name is no text": ((NOWHERE, "A"), {"name": 5}),
    "labels are a text": ((NOWHERE, "A"), {"labels": "job=nightly"}),
    "labels are pairs": ((NOWHERE, "A"), {"labels": [("job", "nightly")]}),
    "label is a number": ((NOWHERE, "A"), {"labels": {"pid": 311}}),
    "label is bytes": ((NOWHERE, "A"), {"labels": {"job": b"nightly"}}),
    "key of a label is no text": ((NOWHERE, "A"), {"labels": {1: "nightly"}}),
}


@pytest.mark.parametrize(("args", "options"), WRONG_TYPES.values(), ids=WRONG_TYPES)
def test_wrong_arguments_are_a_type_error_at_once(
    args: tuple[object, ...], options: dict[str, object]
) -> None:
    """Each is told when `lock` is called, not when its block is entered."""
    with pytest.raises(TypeError):
        lock(*args, **options)  # type: ignore[call-overload]  # pyright: ignore


@pytest.mark.parametrize("semaphore", [None, 5, b"A", ["A", "B"], {"AB"}])
def test_wrong_semaphore_is_told_in_words(semaphore: Any) -> None:
    """The error names the argument, and not what a library tried to make of it."""
    with pytest.raises(TypeError, match="semaphore"):
        lock(NOWHERE, semaphore)


def test_count_goes_with_one_semaphore_only() -> None:
    """Several have their counts in the mapping; one beside it would be overlooked."""
    with pytest.raises(ValueError, match="several have their counts in the mapping"):
        lock(NOWHERE, {"A": 1}, 2)


def test_empty_mapping_is_refused() -> None:
    """Who names nothing has made a mistake."""
    with pytest.raises(ValueError, match="at least one semaphore"):
        lock(NOWHERE, {})


def test_url_without_a_scheme_is_refused_at_once() -> None:
    """The error shows what a URL looks like."""
    with pytest.raises(InvalidUrl, match="it must look like http://localhost:8000"):
        lock("localhost:8000", "A")


def test_mapping_is_not_changed_by_later_changes(server: Server, client: Client) -> None:
    """What the lock asks for is fixed when it is made."""
    wanted = {"A": 2}
    manager = lock(server.url, wanted)
    wanted["A"] = 5

    with manager as lease:
        left = client.remainder("A")

    assert 3 == left
    assert {"A": 2} == lease.semaphores


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_reach_their_semaphore(throttle_server: StartServer, name: str) -> None:
    """Alone, beside another, and inside another lock, where its name stands in a path."""
    url = throttle_server({name: 2, "A": 1, "b": 1, "high": (1, 1)}).url
    client = Client(url)

    with lock(url, name):
        alone = client.remainder(name)
    with lock(url, {name: 2, "A": 1}):
        beside = client.remainder(name)
    with lock(url, "high"):
        with lock(url, name):
            inside = client.remainder(name)
        after = client.remainder(name)

    assert [1, 0, 1, 2] == [alone, beside, inside, after]
    assert [] == peers(url)


@pytest.mark.parametrize("name", ["", "\udcff", "\0", "a" * 10_000])
def test_name_that_no_semaphore_has_is_refused(server: Server, name: str) -> None:
    """Whatever it is made of, it is refused as a `ValueError`, and nothing stays behind."""
    with pytest.raises((UnknownSemaphore, Refused)):
        lock(server.url, name).__enter__()

    assert [] == peers(server.url)
