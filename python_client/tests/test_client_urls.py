"""`Client`: where the server is, what goes over the wire, and who else may answer there."""

import base64
import copy
import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from proxy import Proxy
from recorder import Recorder
from throttle_client import Client, InvalidUrl, Refused, ThrottleError, Unreachable, lock
from throttle_client.testing import Server, StartServer


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """Start a server that notes what it is asked."""
    with Recorder() as recorder:
        yield recorder


@pytest.mark.parametrize(
    ("suffix", "target"),
    [
        ("", "/remainder?semaphore=A"),
        ("/", "/remainder?semaphore=A"),
        ("//", "/remainder?semaphore=A"),
        ("/throttle", "/throttle/remainder?semaphore=A"),
        ("/throttle/", "/throttle/remainder?semaphore=A"),
        ("/a%20b/c", "/a%20b/c/remainder?semaphore=A"),
    ],
)
def test_base_url_may_have_a_path(recorder: Recorder, suffix: str, target: str) -> None:
    """A reverse proxy may serve the server under a path; a slash at the end means nothing."""
    client = Client(recorder.url + suffix)

    client.remainder("A")

    assert [target] == recorder.targets
    assert recorder.url + suffix == client.base_url


def test_names_in_paths_are_encoded_once(recorder: Recorder) -> None:
    """Nothing in a name is taken for a part of the URL."""
    client = Client(recorder.url + "/throttle")

    for name in ("a/b", "..", "%41", "a b?c#d&e=f"):
        client.release_lock(7, name)

    encoded = ["a%2Fb", "%2E%2E", "%2541", "a%20b%3Fc%23d%26e%3Df"]
    assert [f"/throttle/peers/7/{name}" for name in encoded] == recorder.targets


def test_request_says_who_asks_and_what_it_understands(recorder: Recorder) -> None:
    """JSON goes out as such; problem documents are welcome."""
    Client(recorder.url).heartbeat(7, 1.5)

    ((method, target, headers, body),) = recorder.requests
    assert ("PUT", "/peers/7") == (method, target)
    assert {"expires_in": "1500ms"} == json.loads(body)
    assert "application/json" == headers["content-type"]
    assert headers["user-agent"].startswith("throttle-client/")
    assert "application/problem+json" in headers["accept"]
    assert "authorization" not in headers


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("user:password", "user:password"),
        ("user:", "user:"),
        ("user:p%40ss%2Fw%3Ard", "user:p@ss/w:rd"),
        ("user:100%25", "user:100%"),
        ("us%C3%A4r:p%C3%A4ss", "usär:päss"),
    ],
)
def test_credentials_of_the_url_are_sent(recorder: Recorder, written: str, meant: str) -> None:
    """They are for basic authentication at a reverse proxy; in a URL they are percent-encoded."""
    client = Client(f"http://{written}@{recorder.authority}/throttle")

    client.remainder("A")

    ((_, target, headers, _),) = recorder.requests
    kind, _, encoded = headers["authorization"].partition(" ")
    assert "/throttle/remainder?semaphore=A" == target
    assert ("Basic", meant) == (kind, base64.b64decode(encoded).decode())


def credentials_are_hidden(text: str) -> bool:
    """Whether a text does not say the password."""
    return "s3cret" not in text


@pytest.mark.parametrize("status", [404, 409, 503])
def test_credentials_are_never_shown(
    recorder: Recorder, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither repr nor an error says the password."""
    monkeypatch.setattr("throttle_client._client.PATIENCE_SECONDS", 0.1)
    client = Client(f"http://user:s3cret@{recorder.authority}/throttle")
    recorder.answers = [(status, {}, "no")]

    with pytest.raises(ThrottleError) as caught:
        client.remainder("A")

    shown = [repr(client), client.address, repr(lock(client, "A")), repr(caught.value)]
    assert all(map(credentials_are_hidden, shown)), shown


def test_credentials_are_not_shown_when_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the server without them."""
    monkeypatch.setattr("throttle_client._client.PATIENCE_SECONDS", 0.1)
    with Recorder() as gone:
        client = Client(f"http://user:s3cret@{gone.authority}")

    with pytest.raises(Unreachable, match=gone.authority) as caught:
        client.remainder("A")

    assert credentials_are_hidden(str(caught.value))


BAD_URLS = [
    "",
    "localhost:8000",
    "localhost",
    "http://",
    "http:///path",
    "http:localhost:8000",
    "ftp://localhost:8000",
    "unix:///run/throttle",
    "http://localhost:port",
    "http://localhost:99999",
    "http://[::1",
    "http://localhost:8000?queue=false",
    "http://localhost:8000/#top",
]


@pytest.mark.parametrize("url", BAD_URLS)
@pytest.mark.parametrize("make", [Client, lambda url: lock(url, "A")], ids=["Client", "lock"])
def test_bad_url_is_refused_at_once(make: Callable[[str], object], url: str) -> None:
    """What is no URL of a server is an error before anything is sent; it quotes what was given."""
    with pytest.raises(InvalidUrl) as caught:
        make(url)

    assert isinstance(caught.value, ValueError)
    assert repr(url) in str(caught.value)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://localhost", "http://"])
def test_error_of_a_bad_url_shows_a_good_one(url: str) -> None:
    """Whoever forgot the scheme is told how it looks with one."""
    with pytest.raises(InvalidUrl, match="it must look like http://localhost:8000"):
        Client(url)


@pytest.mark.parametrize(
    "url",
    [
        "htp://user:s3cret@localhost:8000",
        "user:s3cret@localhost:8000",
        "http://user:s3cret@localhost:port",
        "http://user:s3cret@localhost:8000?x=1",
    ],
)
def test_error_of_a_bad_url_hides_credentials(url: str) -> None:
    """Error texts end up in logs, where no password belongs."""
    with pytest.raises(InvalidUrl) as caught:
        Client(url)

    assert credentials_are_hidden(str(caught.value))


@pytest.mark.parametrize("url", [None, 8000, b"http://localhost:8000"])
def test_what_is_no_text_is_no_url(url: Any) -> None:
    """The error is one of arguments, not of the depths of a library."""
    with pytest.raises((InvalidUrl, TypeError), match=r"URL|url|str"):
        Client(url)


def test_https_is_known() -> None:
    """A URL with TLS is one, with its own default port."""
    client = Client("https://throttle.example/path/")

    assert "https://throttle.example/path" == client.address
    assert 443 == client.pool().port


def test_ipv6_address_is_known() -> None:
    """An address in brackets is a host."""
    client = Client("http://[::1]:8000/")

    assert "http://[::1]:8000" == client.address
    assert 8000 == client.pool().port


def test_proxies_of_the_environment_are_not_used(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A semaphore server is near; a proxy that is meant for the web is not in between."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name)

    assert 1 == Client(recorder.url).remainder("A")


def test_redirect_is_not_followed(recorder: Recorder) -> None:
    """A server that sends elsewhere is not the server; the error says what it answered."""
    recorder.answers = [(302, {"Location": f"{recorder.url}/elsewhere"}, "")]

    with pytest.raises(Refused, match="unexpected answer 302, is this a Throttle server"):
        Client(recorder.url).remainder("A")

    assert 1 == len(recorder.requests)


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.new_peer(60),
        lambda client: client.remainder("A"),
        lambda client: client.remove_expired(),
        lambda client: lock(client, "A", timeout=1).__enter__(),
    ],
    ids=["new_peer", "remainder", "remove_expired", "lock"],
)
def test_web_page_is_no_answer(recorder: Recorder, call: Callable[[Client], object]) -> None:
    """A web server that answers 200 to everything is told as such, not as a broken number."""
    recorder.answers = [(200, {"Content-Type": "text/html"}, "<html>Welcome!</html>")]

    with pytest.raises(ThrottleError, match="is this a Throttle server"):
        call(Client(recorder.url))


def test_busy_server_is_left_alone_for_as_long_as_it_asks(recorder: Recorder) -> None:
    """`Retry-After` is heeded; then the call succeeds."""
    recorder.answers = [(503, {"Retry-After": "1"}, "too many peers"), (200, {}, "5")]
    began_at = time.monotonic()

    left = Client(recorder.url).remainder("A")

    assert 5 == left
    assert time.monotonic() - began_at >= 1.0
    assert 2 == len(recorder.requests)


def test_busy_server_is_told_in_the_end(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error has status, text, and how long the server wanted to be left alone."""
    monkeypatch.setattr("throttle_client._client.PATIENCE_SECONDS", 0.1)
    recorder.answers = [(503, {"Retry-After": "7"}, "too many peers")]

    with pytest.raises(Unreachable, match="too many peers") as caught:
        Client(recorder.url).remainder("A")

    assert (503, 7) == (caught.value.status, caught.value.retry_after)
    # It does not say which start of which server it is, so it may be a gateway.
    assert caught.value.is_sent


def test_refusal_is_not_repeated(recorder: Recorder) -> None:
    """What the server refuses it would refuse again."""
    recorder.answers = [(409, {}, "no")]

    with pytest.raises(Refused, match="no"):
        Client(recorder.url).remainder("A")

    assert 1 == len(recorder.requests)


def test_client_may_be_shared_by_threads(throttle_server: StartServer) -> None:
    """Many threads use one client at once, over few connections, and each gets its own answers."""
    threads, cycles = 12, 15
    failures: list[BaseException] = []

    def use(client: Client) -> None:
        try:
            for _ in range(cycles):
                peer = client.new_peer(60)
                assert client.acquire(peer, "many", 1)
                assert client.is_acquired(peer)
                client.release(peer)
        except BaseException as error:
            failures.append(error)

    with Proxy(throttle_server({"many": threads}).url) as proxy:
        client = Client(proxy.url)
        users = [threading.Thread(target=use, args=(client,)) for _ in range(threads)]
        for user in users:
            user.start()
        for user in users:
            user.join(30)

        assert not failures
        assert 4 * threads * cycles == len(proxy.requests)
        assert proxy.connections <= 2 * threads
        assert threads == client.remainder("many")


@pytest.mark.parametrize(
    "travel", [lambda client: pickle.loads(pickle.dumps(client)), copy.copy, copy.deepcopy]
)
def test_client_travels(server: Server, travel: Callable[[Client], Client]) -> None:
    """A pickled or copied client talks to the same server, over connections of its own."""
    client = Client(server.url + "/")
    client.remainder("A")

    arrived = travel(client)

    assert (client.base_url, client.address) == (arrived.base_url, arrived.address)
    assert 5 == arrived.remainder("A")
    assert client.pool() is not arrived.pool()


def test_repr_names_the_server(server: Server) -> None:
    """It is what a person reads in a log."""
    assert f"Client('{server.url}')" == repr(Client(server.url + "/"))
