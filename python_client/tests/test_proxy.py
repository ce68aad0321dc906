"""The proxy of the tests does what its controls say; other tests rely on it."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from helpers import in_background, wait_until
from observing import peers, until_waiting, waiting
from proxy import Proxy
from throttle_client.testing import Server

REMAINDER = "/remainder?semaphore=A"
SHORT_SECONDS = 0.3


@pytest.fixture
def connection(proxy: Proxy) -> Iterator[http.client.HTTPConnection]:
    """Prepare a connection that is kept alive, and made again if it was cut."""
    with closing(connect(proxy)) as connection:
        yield connection


def connect(proxy: Proxy, seconds: float = 10) -> http.client.HTTPConnection:
    """Return a connection through the proxy, which is made with its first request."""
    return http.client.HTTPConnection(urlsplit(proxy.url).netloc, timeout=seconds)


def get(connection: http.client.HTTPConnection, path: str = REMAINDER) -> str:
    """Return what the server answers; after an error, the connection is made anew."""
    return send(connection, "GET", path, None)


def send(
    connection: http.client.HTTPConnection, method: str, path: str, body: object | None
) -> str:
    """Return what the server answers; after an error, the connection is made anew."""
    text = None if body is None else json.dumps(body)
    try:
        connection.request(method, path, text, {"Content-Type": "application/json"})
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        connection.close()
        raise


def test_proxy_passes_requests_and_answers(
    proxy: Proxy, connection: http.client.HTTPConnection
) -> None:
    """Without a control it is not noticed, and connections are kept alive."""
    answers = [get(connection) for _ in range(3)]

    assert ["5", "5", "5"] == answers
    assert 1 == proxy.connections


def test_requests_are_listed_in_order(proxy: Proxy, connection: http.client.HTTPConnection) -> None:
    """Methods and paths are found, between bodies and without queries."""
    peer = send(connection, "POST", "/new_peer", {"expires_in": "5m"})
    send(connection, "PUT", f"/peers/{peer}/A?block_for=1s", 2)
    send(connection, "DELETE", f"/peers/{peer}", None)
    get(connection)

    expected = [
        ("POST", "/new_peer"),
        ("PUT", f"/peers/{peer}/A"),
        ("DELETE", f"/peers/{peer}"),
        ("GET", "/remainder"),
    ]
    assert expected == proxy.requests


def test_requests_are_found_however_they_are_split(proxy: Proxy) -> None:
    """Heads and bodies may arrive in pieces, and several at once."""
    body = b'{"expires_in": "5m"}'
    post = (
        b"POST /new_peer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"content-length: %d\r\n\r\n%s" % (len(body), body)
    )
    parts = urlsplit(proxy.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        for octet in post:
            client.sendall(bytes([octet]))
        client.sendall(post + post)

        wait_until(lambda: len(proxy.requests) >= 3)
    assert [("POST", "/new_peer")] * 3 == proxy.requests


def test_refuse_resets_new_connections_and_old_ones(
    proxy: Proxy, connection: http.client.HTTPConnection
) -> None:
    """Nobody gets through until the proxy passes on again."""
    get(connection)

    proxy.refuse()

    with pytest.raises(ConnectionError):
        get(connection)
    with pytest.raises(ConnectionError):
        get(connection)
    proxy.pass_on()
    assert "5" == get(connection)


def test_refused_connections_are_counted_but_not_their_requests(
    proxy: Proxy, connection: http.client.HTTPConnection
) -> None:
    """One can see that somebody tried."""
    proxy.refuse()

    for _ in range(3):
        with pytest.raises(ConnectionError):
            get(connection)

    assert 3 == proxy.connections
    assert [] == proxy.requests


def test_hang_swallows_what_new_connections_send(proxy: Proxy) -> None:
    """They are accepted, but nobody answers."""
    proxy.hang()

    with closing(connect(proxy, SHORT_SECONDS)) as client, pytest.raises(TimeoutError):
        get(client)

    assert 1 == proxy.connections
    assert [] == proxy.requests


def test_hang_swallows_what_old_connections_send(proxy: Proxy) -> None:
    """A connection that worked does not any more, but is not closed either."""
    with closing(connect(proxy, SHORT_SECONDS)) as client:
        get(client)

        proxy.hang()

        with pytest.raises(TimeoutError):
            get(client)
    assert 1 == len(proxy.requests)


def wait_for_mutex(
    client: http.client.HTTPConnection, server: Server
) -> tuple[str, str, Future[str]]:
    """Have a request wait for what another peer holds; its holder, who waits, and the answer."""
    holder, waiter = (send(client, "POST", "/new_peer", {"expires_in": "5m"}) for _ in range(2))
    send(client, "PUT", f"/peers/{holder}/mutex", 1)
    path = f"/peers/{waiter}/mutex?block_for=1m"
    waits = in_background(lambda: send(client, "PUT", path, 1))
    until_waiting(server.url, 1)
    return holder, waiter, waits


def test_hang_swallows_the_answer_to_an_earlier_request(proxy: Proxy, server: Server) -> None:
    """A request that waits at the server gets no answer while the proxy hangs."""
    client = connect(proxy)
    with closing(client):
        holder, waiter, waits = wait_for_mutex(client, server)

        proxy.hang()
        with closing(http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)) as direct:
            send(direct, "DELETE", f"/peers/{holder}", None)
            wait_until(lambda: "true" == get(direct, f"/peers/{waiter}/is_acquired"))
        answered_early = waits.done()
        proxy.pass_on()

        with pytest.raises(ConnectionError):
            waits.result(10)
    assert not answered_early


def test_pass_on_resets_what_hung(proxy: Proxy, connection: http.client.HTTPConnection) -> None:
    """A request that was swallowed stays lost; the next connection works."""
    proxy.hang()
    answer = in_background(lambda: get(connection))
    wait_until(lambda: 1 == proxy.connections)

    proxy.pass_on()

    with pytest.raises(ConnectionError):
        answer.result(10)
    assert [] == proxy.requests
    assert "5" == get(connection)


def test_pass_on_leaves_alone_what_works(
    proxy: Proxy, connection: http.client.HTTPConnection
) -> None:
    """Without anything to end, it does nothing."""
    get(connection)

    proxy.pass_on()

    assert "5" == get(connection)
    assert 1 == proxy.connections


def test_cut_resets_once(proxy: Proxy, connection: http.client.HTTPConnection) -> None:
    """Connections that exist are lost, later ones work."""
    get(connection)

    proxy.cut()

    with pytest.raises(ConnectionError):
        get(connection)
    assert "5" == get(connection)
    assert 2 == proxy.connections


def test_cut_reaches_requests_that_wait(
    proxy: Proxy, connection: http.client.HTTPConnection
) -> None:
    """A request without an answer fails at once."""
    holder, waiter = (send(connection, "POST", "/new_peer", {"expires_in": "5m"}) for _ in range(2))
    send(connection, "PUT", f"/peers/{holder}/mutex", 1)
    path = f"/peers/{waiter}/mutex"
    waits = in_background(lambda: send(connection, "PUT", f"{path}?block_for=1m", 1))
    wait_until(lambda: ("PUT", path) in proxy.requests)

    proxy.cut()

    with pytest.raises(ConnectionResetError) as raised:
        waits.result(10)
    # A connection that is closed in good order would raise a subclass.
    assert ConnectionResetError is raised.type


def test_half_closed_answers_leave_requests_alone(
    proxy: Proxy, server: Server, connection: http.client.HTTPConnection
) -> None:
    """The client reads the end at once; what it sends all the same is served."""
    get(connection)

    proxy.half_close_answers()
    with pytest.raises(http.client.RemoteDisconnected):
        send(connection, "POST", "/new_peer", {"expires_in": "5m"})

    wait_until(lambda: 1 == len(peers(server.url)))
    assert 1 == proxy.connections


def test_half_closed_requests_count_as_hanging_up(proxy: Proxy, server: Server) -> None:
    """A request that waits gets no answer, and its lock stays pending; the next one works."""
    client = connect(proxy)
    with closing(client):
        *_, waits = wait_for_mutex(client, server)

        proxy.half_close_requests()

        with pytest.raises(http.client.RemoteDisconnected):
            waits.result(10)
        assert "0" == send(client, "GET", "/remainder?semaphore=mutex", None)
    assert 1 == waiting(server.url)


def test_drop_answers_lets_requests_act_but_drops_their_answers(
    proxy: Proxy, connection: http.client.HTTPConnection
) -> None:
    """The server has done what it was asked for; the one who asked does not know."""
    proxy.drop_answers(2)

    for _ in range(2):
        with pytest.raises(ConnectionError):
            send(connection, "POST", "/new_peer", {"expires_in": "5m", "acquire": {"A": 1}})

    assert "3" == get(connection)
    assert 3 == len(proxy.requests)


def test_drop_answers_can_be_taken_back(
    proxy: Proxy, connection: http.client.HTTPConnection
) -> None:
    """The number is set, not added to."""
    proxy.drop_answers(5)

    proxy.drop_answers(0)

    assert "5" == get(connection)


def test_delay_holds_answers_back(proxy: Proxy, connection: http.client.HTTPConnection) -> None:
    """Each answer takes at least that long."""
    proxy.delay(SHORT_SECONDS)

    began = time.monotonic()
    answers = [get(connection) for _ in range(2)]

    assert ["5", "5"] == answers
    assert 2 * SHORT_SECONDS <= time.monotonic() - began


def test_end_of_a_delay_lets_go_what_is_held(
    proxy: Proxy, connection: http.client.HTTPConnection
) -> None:
    """Nobody waits for the rest of a delay that is over."""
    proxy.delay(60)
    answer = in_background(lambda: get(connection))
    wait_until(lambda: 1 == len(proxy.requests))

    proxy.delay(0)

    assert "5" == answer.result(10)
    assert "5" == get(connection)


def test_delay_keeps_the_order(proxy: Proxy, connection: http.client.HTTPConnection) -> None:
    """A long answer comes in many pieces, each held back, and is still itself."""

    def ids(peers: str) -> set[int]:
        return {peer["id"] for peer in json.loads(peers)}

    get(connection)
    name = "n" * 128
    for _ in range(500):
        send(connection, "POST", "/new_peer", {"expires_in": "5m", "name": name})
    expected = get(connection, "/peers/")

    proxy.delay(0.05)

    actual = get(connection, "/peers/")
    assert ids(expected) == ids(actual)


def test_server_that_is_gone_resets_and_works_when_it_is_back(
    connection: http.client.HTTPConnection, server: Server
) -> None:
    """The proxy outlives the server behind it."""
    get(connection)

    server.kill()

    for _ in range(2):
        with pytest.raises(ConnectionError):
            get(connection)
    server.start()
    assert "5" == get(connection)


def test_client_that_goes_is_gone_for_the_server(proxy: Proxy) -> None:
    """The end of a connection is passed on as well."""
    with closing(connect(proxy)) as client:
        get(client)

    wait_until(lambda: not proxy.ends)


def test_proxy_leaves_no_thread_and_no_socket(server: Server) -> None:
    """All is over after the block, in whatever state the proxy was."""
    threads = set(threading.enumerate())
    clients = []

    for control in ("refuse", "hang", "pass_on", "cut"):
        with Proxy(server.url) as proxy:
            clients.append(connect(proxy))
            get(clients[-1])
            getattr(proxy, control)()
        with pytest.raises(ConnectionError):
            get(clients[-1])
        with pytest.raises(ConnectionRefusedError):
            get(clients[-1])

    assert threads == set(threading.enumerate())


def test_controls_race_with_traffic(proxy: Proxy) -> None:
    """Whatever happens meanwhile, each request ends, and all is well in the end."""
    over = threading.Event()

    def ask() -> None:
        with closing(connect(proxy)) as client:
            while not over.is_set():
                try:
                    assert "5" == get(client)
                except (OSError, http.client.HTTPException):
                    continue

    askers = [in_background(ask) for _ in range(4)]
    for _ in range(30):
        for control in (proxy.hang, proxy.cut, proxy.refuse, proxy.pass_on, proxy.drop_answers):
            control()
    proxy.pass_on()
    proxy.drop_answers(0)
    over.set()

    for asker in askers:
        asker.result(10)
    wait_until(lambda: not proxy.ends)
    with closing(connect(proxy)) as client:
        assert "5" == get(client)
