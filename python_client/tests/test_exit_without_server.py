"""How blocks are left and interpreters end when the server is gone: soon, and without a word."""

import sys
import time

import pytest

from helpers import wait_until
from observing import peers
from proxy import Proxy
from scripts import end_script, read_line, start_script
from throttle_client import Lease, lock
from throttle_client.testing import Server

# Leaving a block is to take two seconds at most, where the server is gone, and ending one more.
GONE_SECONDS = 3.0
SLACK_SECONDS = 2.0

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="a server cannot be paused on Windows"
)


def wait_until_quiet(lease: Lease) -> None:
    """Return as soon as nothing of it is released in the background any more."""
    wait_until(lambda: 0 == lease.holding.pending_withdrawals)


HOLDS_UNTIL_TOLD = """
    import sys
    from throttle_client import Lease, lock

    with lock(sys.argv[1], "A"):
        print("inside", flush=True)
        sys.stdin.readline()
        sys.exit(3)
"""


@pytest.mark.parametrize("how", ["killed", "paused"])
def test_process_ends_soon_when_the_server_is_gone(server: Server, how: str) -> None:
    """Whether nobody listens or nobody answers."""
    script = start_script(HOLDS_UNTIL_TOLD, server.url)
    assert "inside" == read_line(script)
    if how == "killed":
        server.kill()
    else:
        server.pause()
    began_at = time.monotonic()

    code, stdout, stderr = end_script(script)

    assert (3, "", "") == (code, stdout, stderr)
    assert time.monotonic() - began_at < GONE_SECONDS + SLACK_SECONDS


def test_heartbeat_without_an_answer_does_not_keep_the_process(server: Server) -> None:
    """Nor does a warning that the lease is at risk."""
    source = """
        import logging, sys, time
        from throttle_client import Lease, lock

        logging.disable()
        held = lock(sys.argv[1], "A", expires_in=1)
        held.__enter__()
        print("inside", flush=True)
        sys.stdin.readline()
        time.sleep(0.6)
        sys.exit(3)
    """
    script = start_script(source, server.url)
    assert "inside" == read_line(script)
    server.pause()
    began_at = time.monotonic()

    done = end_script(script)

    assert (3, "", "") == done
    assert time.monotonic() - began_at < GONE_SECONDS + SLACK_SECONDS


def test_block_is_left_without_hurry_when_the_server_refuses(server: Server) -> None:
    """The server is not asked again and again as fast as the machine can."""
    with Proxy(server.url) as proxy:
        held = lock(proxy.url, "A", expires_in=60)
        lease = held.__enter__()
        before = proxy.connections
        proxy.refuse()
        began_at = time.monotonic()

        held.__exit__(None, None, None)

        took = time.monotonic() - began_at
        tries = proxy.connections - before
        proxy.pass_on()
        wait_until(lambda: [] == peers(server.url))
        wait_until_quiet(lease)
    assert took < GONE_SECONDS + SLACK_SECONDS
    assert tries < 50


@pytest.mark.parametrize("drops", [1, 2, 5])
def test_release_that_was_served_without_an_answer_is_no_loss(server: Server, drops: int) -> None:
    """That the server does not know the peer any more is as it should be then."""
    with Proxy(server.url) as proxy:
        held = lock(proxy.url, "A", expires_in=60)
        lease = held.__enter__()
        proxy.drop_answers(drops)

        held.__exit__(None, None, None)

        assert not lease.lost
        assert [] == peers(server.url)
        wait_until_quiet(lease)


def test_block_of_many_semaphores_is_left_soon_when_the_server_is_gone(server: Server) -> None:
    """The bound is that of the block, whether or not it nests, not that of each semaphore."""
    with lock(server.url, "high", expires_in=60):
        inner = lock(server.url, {"A": 1, "B": 1, "mutex": 1, "middle": 1})
        inner.__enter__()
        server.pause()
        began_at = time.monotonic()

        inner.__exit__(None, None, None)

        took = time.monotonic() - began_at
        server.resume()
    assert took < GONE_SECONDS + SLACK_SECONDS
    wait_until(lambda: [] == peers(server.url))
