"""Nothing of an ask stays at the server when its caller does not wait any more."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn
from urllib.request import Request, urlopen

import pytest

from helpers import in_background, wait_until
from observing import peers
from proxy import Proxy
from rivals import known, occupy
from throttle_client import (
    Client,
    InvalidUrl,
    Refused,
    Timeout,
    TlsRefused,
    UnknownSemaphore,
    Unreachable,
    lock,
)
from throttle_client._giving_back import AFTERTHOUGHT_SECONDS
from throttle_client.testing import Server

# How long a request takes at most from the proxy to the books of the server, which nothing tells.
PASSAGE_SECONDS = 0.2


class OnPurpose(Exception):
    """What a handler of a signal may raise."""


@pytest.fixture
def usr1_raises() -> Iterator[None]:
    """Have SIGUSR1 raise an exception in the main thread."""

    def fail(number: int, frame: FrameType | None) -> NoReturn:
        raise OnPurpose

    before = signal.signal(signal.SIGUSR1, fail)
    yield
    signal.signal(signal.SIGUSR1, before)


def signal_main_thread_once(condition: Callable[[], object], number: signal.Signals) -> None:
    """Send the main thread a signal as soon as a condition holds."""
    main_thread = threading.main_thread().ident
    assert main_thread is not None

    def wait_and_send() -> None:
        wait_until(condition)
        signal.pthread_kill(main_thread, number)

    in_background(wait_and_send)


def send(server: Server, method: str, path: str, body: object) -> None:
    """Send the server itself a request that it grants."""
    headers = {"Content-Type": "application/json"}
    data = json.dumps(body).encode()
    request = Request(server.url + path, data, headers, method=method)
    with urlopen(request, timeout=10) as answer:
        assert 200 == answer.status


def is_pending(server: Server) -> bool:
    """Whether somebody waits."""
    return any(peer["pending"] for peer in peers(server.url))


def test_ask_is_withdrawn_after_a_timeout(server: Server) -> None:
    """Whoever gave up is not granted the lock later on."""
    holder = occupy(server)
    began_at = time.monotonic()

    with pytest.raises(Timeout), lock(server.url, "mutex", timeout=0.3):
        pass

    assert 0.3 <= time.monotonic() - began_at < 3
    assert {holder} == known(server).keys()


def test_ask_of_several_is_withdrawn_after_a_timeout(server: Server) -> None:
    """Nothing of an ask for several semaphores stays reserved."""
    occupy(server)

    with pytest.raises(Timeout), lock(server.url, {"A": 5, "mutex": 1}, timeout=0.3):
        pass

    assert 5 == Client(server.url).remainder("A")
    with lock(server.url, "A", count=5, timeout=0):
        pass


def test_inner_ask_is_withdrawn_after_a_timeout(server: Server) -> None:
    """The outer lock stays as it was, and waits for nothing."""
    holder = occupy(server)

    with lock(server.url, "high") as high:
        with pytest.raises(Timeout), lock(server.url, "mutex", timeout=0.3):
            pass

        assert {holder, high.id} == known(server).keys()
        assert {"high": 1} == known(server)[high.id]["acquired"]
        assert {} == known(server)[high.id]["pending"]
        high.check()
        with lock(server.url, "A", timeout=5) as low:
            assert high.id == low.id


def test_ask_is_withdrawn_after_an_interrupt(server: Server) -> None:
    """Ctrl+C in a caller who waits leaves nobody in the queue."""
    holder = occupy(server)
    signal_main_thread_once(lambda: is_pending(server), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), lock(server.url, "mutex"):
        pass

    assert {holder} == known(server).keys()


def test_inner_ask_is_withdrawn_after_an_interrupt(server: Server) -> None:
    """Ctrl+C in a caller who waits for an inner lock gives back the outer one as well."""
    holder = occupy(server)
    signal_main_thread_once(lambda: is_pending(server), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), lock(server.url, "high"), lock(server.url, "mutex"):
        pass

    assert {holder} == known(server).keys()


@pytest.mark.usefixtures("usr1_raises")
def test_ask_is_withdrawn_after_an_exception(server: Server) -> None:
    """Whatever ends the waiting withdraws the ask."""
    holder = occupy(server)
    signal_main_thread_once(lambda: is_pending(server), signal.SIGUSR1)

    with pytest.raises(OnPurpose), lock(server.url, "mutex"):
        pass

    assert {holder} == known(server).keys()


@pytest.mark.usefixtures("usr1_raises")
def test_ask_is_withdrawn_after_an_exception_while_the_server_is_gone(
    server: Server, proxy: Proxy
) -> None:
    """An ask that the server may have is withdrawn in the background, once it can be reached."""
    holder = occupy(server)

    def lose_the_server() -> bool:
        if is_pending(server):
            proxy.refuse()
            return True
        return False

    signal_main_thread_once(lose_the_server, signal.SIGUSR1)
    with pytest.raises(OnPurpose), lock(proxy.url, "mutex"):
        pass
    assert is_pending(server)
    proxy.pass_on()

    wait_until(lambda: known(server).keys() == {holder})


def test_exception_in_the_block_gives_the_lock_back(server: Server) -> None:
    """It leaves the block as it is, and nothing stays at the server."""
    with pytest.raises(OnPurpose), lock(server.url, "mutex"):
        raise OnPurpose

    assert {} == known(server)


def test_grant_whose_answer_is_lost_is_asked_for_again(server: Server, proxy: Proxy) -> None:
    """The repeated ask finds the lock that was granted, and takes nothing twice."""
    proxy.drop_answers(2)

    with lock(proxy.url, "A", count=2) as lease:
        ((id, peer),) = known(server).items()
        assert lease.id == id
        assert {"A": 2} == peer["acquired"]
        assert {"A": lease.token} == peer["tokens"]

    assert 3 == proxy.requests.count(("POST", "/new_peer"))
    assert {} == known(server)


def test_inner_grant_whose_answer_is_lost_is_asked_for_again(server: Server, proxy: Proxy) -> None:
    """An inner lock is not refused as one that the peer has already."""
    with lock(proxy.url, "high") as high:
        proxy.drop_answers(2)

        with lock(proxy.url, "A") as low:
            assert {"high": high.token, "A": low.token} == known(server)[high.id]["tokens"]

        assert {"high": 1} == known(server)[high.id]["acquired"]


def test_grant_whose_answer_is_lost_is_withdrawn_after_a_timeout(
    server: Server, proxy: Proxy
) -> None:
    """What the server granted, and the caller never heard of, is given back."""
    proxy.drop_answers(1000)

    with pytest.raises(Unreachable), lock(proxy.url, "mutex", timeout=0.3):
        pass
    proxy.drop_answers(0)

    wait_until(lambda: known(server) == {})


def test_pending_ask_whose_answer_is_lost_is_withdrawn(server: Server, proxy: Proxy) -> None:
    """A peer that was made for an ask without an answer goes with it."""
    holder = occupy(server)
    proxy.drop_answers(1)

    with pytest.raises((Timeout, Unreachable)), lock(proxy.url, "mutex", timeout=0.3):
        pass

    wait_until(lambda: known(server).keys() == {holder})


def test_inner_ask_whose_answers_are_lost_is_withdrawn(server: Server, proxy: Proxy) -> None:
    """The outer lock stays, and waits for nothing."""
    holder = occupy(server)
    with lock(proxy.url, "high") as high:
        proxy.drop_answers(1000)
        with pytest.raises((Timeout, Unreachable)), lock(proxy.url, "mutex", timeout=0.3):
            pass
        proxy.drop_answers(0)

        wait_until(lambda: not is_pending(server))
        assert {holder, high.id} == known(server).keys()
        high.check()


def test_ask_that_arrives_after_its_withdrawal_is_withdrawn_again(
    server: Server, proxy: Proxy
) -> None:
    """A server that hung may take the connection of the withdrawal before that of the ask."""
    proxy.refuse()
    with pytest.raises(Unreachable), lock(proxy.url, "mutex", timeout=0.2):
        pass
    proxy.pass_on()
    wait_until(lambda: proxy.requests)
    ((verb, path),) = proxy.requests
    assert verb == "DELETE"
    time.sleep(PASSAGE_SECONDS)

    ask = {"expires_in": "5m", "peer_id": int(path.split("/")[-1]), "acquire": {"mutex": 1}}
    send(server, "POST", "/new_peer", ask)

    wait_until(lambda: not known(server))


def test_withdrawal_is_repeated_however_long_the_server_was_away(
    server: Server, proxy: Proxy
) -> None:
    """The second one comes some time after the first one was served, not after it was due."""
    # What is swallowed was sent for certain; of what is refused, nothing may have been.
    proxy.hang()
    with pytest.raises(Unreachable), lock(proxy.url, "mutex", timeout=0.2):
        pass
    time.sleep(1.5 * AFTERTHOUGHT_SECONDS)
    proxy.pass_on()
    wait_until(lambda: proxy.requests)
    time.sleep(AFTERTHOUGHT_SECONDS / 2)

    served_early = len(proxy.requests)

    assert 1 == served_early
    wait_until(lambda: 2 == len(proxy.requests))


def test_inner_ask_that_arrives_after_its_withdrawal_is_withdrawn_again(
    server: Server, proxy: Proxy
) -> None:
    """The outer peer holds nothing of which its caller does not know."""
    with lock(proxy.url, "high") as high:
        proxy.refuse()
        with pytest.raises(Unreachable), lock(proxy.url, "mutex", timeout=0.2):
            pass
        proxy.pass_on()
        wait_until(lambda: ("DELETE", f"/peers/{high.id}/mutex") in proxy.requests)
        time.sleep(PASSAGE_SECONDS)

        send(server, "PUT", f"/peers/{high.id}", {"acquire": {"mutex": 1}})

        wait_until(lambda: known(server)[high.id]["acquired"] == {"high": 1})


def test_waiter_of_a_server_that_hangs_is_withdrawn_once_it_goes_on(
    server: Server, proxy: Proxy
) -> None:
    """An ask that the server has in its books is withdrawn in the background."""
    holder = occupy(server)
    waited = in_background(lock(proxy.url, "mutex", timeout=0.3).__enter__)
    wait_until(lambda: is_pending(server))
    proxy.hang()
    began_at = time.monotonic()

    with pytest.raises((Timeout, Unreachable)):
        waited.result(15)
    # Two seconds beyond the timeout for a late answer, and two for the withdrawal.
    assert time.monotonic() - began_at < 0.3 + 4 + 2
    assert is_pending(server)
    proxy.pass_on()

    wait_until(lambda: known(server).keys() == {holder})


def test_try_of_a_busy_semaphore_is_never_queued(server: Server, proxy: Proxy) -> None:
    """With a timeout of 0 one request is sent, and a `Timeout` raised at once."""
    holder = occupy(server)
    began_at = time.monotonic()

    with pytest.raises(Timeout), lock(proxy.url, "mutex", timeout=0):
        pass

    assert time.monotonic() - began_at < 1
    assert [("POST", "/new_peer")] == proxy.requests
    assert {holder} == known(server).keys()


def test_try_of_a_busy_inner_semaphore_is_never_queued(server: Server, proxy: Proxy) -> None:
    """The outer lock does not wait for it, either."""
    occupy(server)
    with lock(proxy.url, "high") as high:
        sent = len(proxy.requests)

        with pytest.raises(Timeout), lock(proxy.url, "mutex", timeout=0):
            pass

        assert [("PUT", f"/peers/{high.id}")] == proxy.requests[sent:]
        assert {} == known(server)[high.id]["pending"]


def test_try_of_a_free_semaphore_is_granted(server: Server) -> None:
    """With a timeout of 0, what is free is taken."""
    with lock(server.url, "mutex", timeout=0) as lease:
        assert {"mutex": lease.token} == known(server)[lease.id]["tokens"]


def test_timeout_at_a_server_that_is_down_is_unreachable(server: Server) -> None:
    """Nobody waits for longer than agreed for a server that was never there."""
    server.kill()
    began_at = time.monotonic()

    with pytest.raises(Unreachable), lock(server.url, "A", timeout=0.5):
        pass

    assert 0.5 <= time.monotonic() - began_at < 3


def test_try_at_a_server_that_is_down_is_unreachable_at_once(server: Server) -> None:
    """A timeout of 0 does not wait for a server to come back."""
    server.kill()
    began_at = time.monotonic()

    with pytest.raises(Unreachable), lock(server.url, "A", timeout=0):
        pass

    assert time.monotonic() - began_at < 2


def test_server_that_comes_up_in_time_is_waited_for(server: Server) -> None:
    """A server that is not there yet is no error as long as the timeout allows."""
    server.kill()
    waited = in_background(lock(server.url, "A", timeout=30).__enter__)
    time.sleep(0.3)
    assert not waited.done()
    server.start()

    assert waited.result(10).token


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://localhost", "http://", "", "http://a b"])
def test_malformed_url_is_an_error_before_the_block(url: str) -> None:
    """`lock` itself raises, and nothing is sent."""
    with pytest.raises(InvalidUrl):
        lock(url, "A")


def test_tls_to_a_server_without_it_is_refused_at_once(server: Server, proxy: Proxy) -> None:
    """Trying again would not help, so it is not tried again."""
    began_at = time.monotonic()

    with pytest.raises(TlsRefused), lock(proxy.url.replace("http:", "https:"), "A"):
        pass

    assert time.monotonic() - began_at < 5
    assert 1 == proxy.connections
    assert {} == known(server)


def test_refused_ask_leaves_nothing_behind(server: Server) -> None:
    """Neither an unknown semaphore nor a count above max makes a peer."""
    with pytest.raises(UnknownSemaphore), lock(server.url, "nope"):
        pass
    with pytest.raises(Refused), lock(server.url, "A", count=6):
        pass

    assert {} == known(server)
