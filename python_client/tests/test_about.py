"""Name and labels of peers: what the server is told of who asks, and what it shows of that."""

import json
import os
import pickle
import socket
import sys
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from classic import Classic
from observing import peers
from recorder import Recorder
from throttle_client import (
    Client,
    Peer,
    PeerWithHeartbeat,
    Refused,
    clear_peers,
    get_local_peer,
    lock,
)
from throttle_client._about import _of_process
from throttle_client.testing import Server

OWN = {"job": "nightly import, step 3 — größer 🚦", "empty": ""}


@pytest.fixture
def argv(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[list[str]], None]]:
    """Set what the program was called with; what is made of it is kept otherwise."""

    def set_argv(arguments: list[str]) -> None:
        monkeypatch.setattr(sys, "argv", arguments)
        _of_process.cache_clear()

    yield set_argv
    _of_process.cache_clear()


@pytest.fixture
def etl(argv: Callable[[list[str]], None]) -> dict[str, str]:
    """Be a program that is called `etl`; returns the labels that it has by default."""
    argv(["/usr/bin/etl", "--all"])
    return {"host": socket.gethostname(), "pid": str(os.getpid()), "program": "etl"}


def shown(server: Server, peer_id: int) -> tuple[str | None, dict[str, str]]:
    """Ask the server for name and labels of a peer."""
    with urllib.request.urlopen(f"{server.url}/peers/{peer_id}", timeout=10) as answer:
        peer = json.load(answer)
    return peer["name"], peer["labels"]


def restart(server: Server) -> None:
    """Let the server lose its memory."""
    server.kill()
    server.start()


def made_by_lock(url: str, **about: Any) -> Peer:
    """Have `lock` make a peer that nobody gives back."""
    lease = lock(url, "A", heartbeat_interval=None, **about).__enter__()
    lease.end()
    clear_peers()
    return lease


MAKERS: dict[str, Callable[..., Peer]] = {
    "Peer": lambda url, **about: Peer(Client(url), **about),
    "PeerWithHeartbeat": lambda url, **about: PeerWithHeartbeat(Client(url), **about),
    "URL": lambda url, **about: Peer.from_server_url(url, **about),
    "Client": lambda url, **about: Peer(Client(url), Client(url).new_peer(60, **about)),
    "lock": made_by_lock,
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_peer_has_name_and_labels_by_default(
    server: Server, etl: dict[str, str], make: Callable[..., Peer]
) -> None:
    """They say which program asks, on which machine, as which process, whoever makes the peer."""
    peer = make(server.url)

    assert (f"etl@{etl['host']}", etl) == shown(server, peer.id)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_peer_has_name_and_labels_that_were_given(
    server: Server, etl: dict[str, str], make: Callable[..., Peer]
) -> None:
    """The server shows them, and the default labels beside."""
    peer = make(server.url, name="größer 🚦", labels=OWN)

    assert ("größer 🚦", OWN | etl) == shown(server, peer.id)


def test_local_peer_has_name_and_labels(server: Server, etl: dict[str, str]) -> None:
    """The peer of a thread has them, too."""
    peer = get_local_peer(server.url)

    assert (f"etl@{etl['host']}", etl) == shown(server, peer.id)
    peer.remove_from_server()


async def test_peer_of_asyncio_has_name_and_labels(server: Server, etl: dict[str, str]) -> None:
    """Those by default, and those that were given."""
    async with lock(server.url, "A") as lease:
        by_default = shown(server, lease.id)
    async with lock(server.url, "A", name="me", labels=OWN) as lease:
        given = shown(server, lease.id)

    assert (f"etl@{etl['host']}", etl) == by_default
    assert ("me", OWN | etl) == given


def test_own_labels_go_before_the_default_ones(server: Server, etl: dict[str, str]) -> None:
    """One of the same key stands in its place; `None` leaves it out, and is quiet elsewhere."""
    own = {"program": "nightly", "pid": None, "user": None}

    with lock(server.url, "A", labels=own) as lease:
        _, labels = shown(server, lease.id)

    assert {"program": "nightly", "host": etl["host"]} == labels


def test_peer_may_have_no_labels(server: Server) -> None:
    """If all of the default ones are left out, the name stays."""
    labels = dict.fromkeys(["host", "pid", "program"])

    with lock(server.url, "A", name="me", labels=labels) as lease:
        assert ("me", {}) == shown(server, lease.id)


@pytest.mark.parametrize(("number", "defaults"), [(13, 3), (14, 2), (16, 0)])
def test_default_labels_make_room_for_own_ones(server: Server, number: int, defaults: int) -> None:
    """What somebody wanted is not refused for what nobody asked for."""
    own = {f"{index}": "x" for index in range(number)}

    with lock(server.url, "A", labels=own) as lease:
        _, labels = shown(server, lease.id)

    assert {*own, *["host", "pid", "program"][:defaults]} == labels.keys()


def test_labels_are_not_changed_by_later_changes(server: Server) -> None:
    """What a peer is called is fixed when `lock` is called."""
    own = {"job": "first"}
    manager = lock(server.url, "A", labels=own)
    own["job"] = "second"

    with manager as lease:
        assert "first" == shown(server, lease.id)[1]["job"]


def test_inner_lock_has_the_labels_of_the_outer_one(server: Server) -> None:
    """They belong to one peer."""
    with (
        lock(server.url, "high", name="outer", labels={"job": "1"}) as outer,
        lock(server.url, "A", name="inner", labels={"job": "2"}),
    ):
        name, labels = shown(server, outer.id)

    assert ("outer", "1") == (name, labels["job"])


def test_new_life_keeps_name_and_labels(server: Server, etl: dict[str, str]) -> None:
    """A peer that was released as a whole comes back under a new id only."""
    peer = Peer(Client(server.url), name="me", labels=OWN)
    first_id = peer.id
    peer.remove_from_server()

    peer.acquire("A")

    assert first_id != peer.id
    assert ("me", OWN | etl) == shown(server, peer.id)


@pytest.mark.parametrize("acquired", [{}, {"A": 2}], ids=["holds nothing", "holds"])
def test_labels_come_back_after_a_restart(
    server: Server, etl: dict[str, str], acquired: dict[str, int]
) -> None:
    """Whether the peer is restored or made anew."""
    peer = Peer(Client(server.url), name="me", labels=OWN)
    for semaphore, count in acquired.items():
        peer.acquire(semaphore, count)

    restart(server)
    peer.heartbeat()

    assert ("me", OWN | etl) == shown(server, peer.id)


def test_labels_of_a_lock_come_back_after_a_restart(server: Server, etl: dict[str, str]) -> None:
    """The one that brings back the outer lock brings its labels back, too."""
    with lock(server.url, "high", labels=OWN) as outer:
        restart(server)
        with lock(server.url, "A"):
            assert (f"etl@{etl['host']}", OWN | etl) == shown(server, outer.id)


def test_restore_by_the_client_has_name_and_labels(server: Server, etl: dict[str, str]) -> None:
    """Those by default, and those that were given."""
    client = Client(server.url)

    client.restore(2**40, {"A": 1}, 60)
    client.restore(2**41, {"A": 1}, 60, name="me", labels=OWN)

    assert (f"etl@{etl['host']}", etl) == shown(server, 2**40)
    assert ("me", OWN | etl) == shown(server, 2**41)


def test_peer_without_its_token_comes_back_with_labels(server: Server, etl: dict[str, str]) -> None:
    """Where the clock of the server was set back, the token alone is left behind."""
    peer = Peer(Client(server.url), 2**40, {"A": 2}, name="me", labels=OWN)
    peer.holding.tokens["A"] = 2**53 - 1

    peer.restore()

    assert ("me", OWN | etl) == shown(server, peer.id)


def test_labels_that_the_server_does_not_take_lose_no_lock(server: Server) -> None:
    """A peer that was made by somebody else is restored without them."""
    peer = Peer(Client(server.url), 2**40, {"A": 2}, name="x" * 129)
    peer.holding.tokens["A"] = 2**53 - 1

    peer.restore()

    assert (None, {}) == shown(server, peer.id)
    assert {"A": 2} == peers(server.url)[0]["acquired"]


def test_labels_travel_with_their_peer(server: Server, etl: dict[str, str]) -> None:
    """A pickled peer restores with what its original was given."""
    peer = Peer(Client(server.url), name="me", labels=OWN)
    peer.acquire("A")
    arrived = pickle.loads(pickle.dumps(peer))

    restart(server)
    arrived.heartbeat()

    assert ("me", OWN | etl) == shown(server, peer.id)


@pytest.mark.parametrize(
    "about", [{"name": 5}, {"labels": ["job"]}, {"labels": {"job": 5}}, {"labels": {None: "x"}}]
)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_wrong_types_are_refused_at_once(
    server: Server, make: Callable[..., Peer], about: dict[str, Any]
) -> None:
    """The error says what was given; nothing is made."""
    with pytest.raises(TypeError, match=r"(name must be|labels must map|a label must be) .* not "):
        make(server.url, **about)

    assert [] == peers(server.url)


@pytest.mark.parametrize(
    "labels",
    [
        {"": "x"},
        {"k" * 33: "x"},
        {"job": "x" * 129},
        {"job": "new\nline"},
        {"job": "\u202e"},
        {"job": "\udcff"},
        {"\x1b[31m": "x"},
        {f"{index}": "x" for index in range(17)},
    ],
    ids=range(8),
)
def test_labels_that_the_server_does_not_take_are_refused(
    server: Server, labels: dict[str, str]
) -> None:
    """The error says what is wrong with them, and nothing is held."""
    with pytest.raises(Refused, match=r"invalid body: .*(label|surrogate)") as caught:
        lock(server.url, "A", labels=labels).__enter__()

    assert "bad_body" == caught.value.code
    assert [] == peers(server.url)


@pytest.mark.parametrize("name", ["x" * 129, "new\nline", "\x1b[31m", "\udcff"])
def test_name_that_the_server_does_not_take_is_refused(server: Server, name: str) -> None:
    """It is no name that could be shown; the error says what is wrong, and nothing is held."""
    with pytest.raises(Refused, match=r"invalid body: .*(`name`|surrogate)") as caught:
        lock(server.url, "A", name=name).__enter__()

    assert "bad_body" == caught.value.code
    assert [] == peers(server.url)


@pytest.mark.parametrize("key", ["k" * 32, "🚦" * 32, "a b", '"', "host name", "ä/b"])
def test_odd_keys_and_long_values_are_shown(server: Server, key: str) -> None:
    """What is within the limits of the server reaches it as it is."""
    value = "🚦" * 128

    with lock(server.url, "A", labels={key: value}) as lease:
        assert value == shown(server, lease.id)[1][key]


@pytest.mark.parametrize(
    ("path", "program"),
    [
        ("", "python"),
        ("-c", "python"),
        ("-m", "python"),
        ("-", "python"),
        ("/opt/etl.py", "etl.py"),
        ("/opt/etl/__main__.py", "etl"),
        ("__main__.py", "python"),
        ("/opt/a\nb\x07.py", "ab.py"),
        ("/opt/two words", "two words"),
        ("/opt/a@b", "a@b"),
        ("/opt/", "python"),
        ("  ", "python"),
        ("x" * 300, "x" * 128),
        ("🚦" * 300, "🚦" * 128),
        ("/bin/\udcff", "python"),
        ("ä\u202e\u2028\u200fb", "äb"),
    ],
)
def test_odd_programs_have_names_that_the_server_takes(
    server: Server, argv: Callable[[list[str]], None], path: str, program: str
) -> None:
    """Whatever the program is called, its locks are granted."""
    argv([path])

    with lock(server.url, "A") as lease:
        name, labels = shown(server, lease.id)

    assert program == labels["program"]
    assert f"{program}@{socket.gethostname()}"[:128] == name


def test_program_needs_no_arguments(server: Server, argv: Callable[[list[str]], None]) -> None:
    """An embedded interpreter may have no `argv` at all."""
    argv([])

    with lock(server.url, "A") as lease:
        assert f"python@{socket.gethostname()}" == shown(server, lease.id)[0]


@pytest.mark.parametrize("host", ["", "\udcff", "\x07"])
def test_machine_without_a_name_is_left_out(
    server: Server,
    argv: Callable[[list[str]], None],
    monkeypatch: pytest.MonkeyPatch,
    host: str,
) -> None:
    """The program alone makes the name, then."""
    argv(["etl"])
    monkeypatch.setattr(socket, "gethostname", lambda: host)

    with lock(server.url, "A") as lease:
        assert ("etl", {"pid": str(os.getpid()), "program": "etl"}) == shown(server, lease.id)


def test_classic_server_is_told_nothing(server: Server) -> None:
    """Once it is known to be one: neither when a peer is made, nor when it is restored."""
    with Classic(server.url) as classic:
        client = Client(classic.url)
        client.remainder("A")

        peer = Peer(client, name="me", labels=OWN)
        peer.acquire("A")
        client.new_peer(60, labels=OWN)
        with lock(client, "A", labels=OWN):
            pass
        restart(server)
        peer.restore()
        client.restore(2**40, {"A": 1}, 60, labels=OWN)

        told = [json.loads(body) for method, _, body in classic.requests if method == "POST"]

    assert 5 == len(told)
    assert [] == [body for body in told if {"name", "labels"} & body.keys()]


def test_upgraded_server_is_told(server: Server, etl: dict[str, str]) -> None:
    """A peer of a server of the old kind gets its labels when it comes to one of ours."""
    with Classic(server.url) as classic:
        peer = Peer(Client(classic.url), labels=OWN)
        peer.acquire("A")

        classic.upgrade()
        restart(server)
        peer.heartbeat()

        assert (f"etl@{etl['host']}", OWN | etl) == shown(server, peer.id)


def test_name_and_labels_go_with_the_first_request() -> None:
    """They cost no request of their own, and are strings."""
    with Recorder() as recorder:
        recorder.answers = [(400, {"Content-Type": "text/plain"}, "no")]
        with pytest.raises(Refused):
            lock(recorder.url, "A", name="me", labels={"job": "x", "host": None}).__enter__()

        ((method, target, _, body),) = recorder.requests

    sent = json.loads(body)
    assert ("POST", "/new_peer") == (method, target.partition("?")[0])
    assert "me" == sent["name"]
    assert ["job", "pid", "program"] == list(sent["labels"])
    assert str(os.getpid()) == sent["labels"]["pid"]
