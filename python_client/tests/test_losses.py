"""Whoever holds a lock learns that it lost it, before somebody else is granted it."""

import threading
import time

import pytest

from helpers import wait_until
from proxy import Proxy
from rivals import UNATTENDED, known, losing, rival
from throttle_client import Client, Lease, LockLost, lock
from throttle_client.testing import Server

LEASE = 1.0


def test_lock_without_heartbeats_is_lost_before_another_is_granted_it(
    server: Server, proxy: Proxy
) -> None:
    """Without heartbeats none is sent, and our own clock tells when the lease has ended."""
    # The lease must count from when the ask was sent, for its answer comes late.
    proxy.delay(0.3)
    began_at = time.monotonic()
    with losing(lock(proxy.url, "mutex", expires_in=LEASE, heartbeat_interval=None)) as lease:
        is_lost = rival(server, lease.lost.is_set)
        assert lease.lost.wait(10)
        lost_after = time.monotonic() - began_at

        assert is_lost.result(10)

    assert 0.98 * LEASE <= lost_after
    assert 0 == proxy.requests.count(("PUT", f"/peers/{lease.id}"))


def test_lock_is_reported_lost_before_a_server_out_of_reach_hands_it_on(
    server: Server, proxy: Proxy
) -> None:
    """By our own clock the lease ends a little earlier than by that of the server."""
    began_at, length = time.monotonic(), 1.5 * LEASE
    told_at: list[float] = []
    held = lock(
        proxy.url, "mutex", expires_in=length, on_lost=lambda _: told_at.append(time.monotonic())
    )
    with losing(held) as lease:
        granted = rival(server, lambda: (lease.lost.is_set(), time.monotonic()))
        proxy.hang()
        assert lease.lost.wait(10)
        lost_at = time.monotonic()

        was_lost, granted_at = granted.result(10)

    assert was_lost
    assert 0.98 * length <= lost_at - began_at
    # Both were told a hundredth of the lease earlier, unless the machine was busy just then.
    assert lost_at < granted_at + 0.25
    assert told_at[0] < granted_at + 0.25


def test_lock_is_lost_while_its_server_stands_still(server: Server) -> None:
    """A server that is paused past the lease grants the lock to the next one once it goes on."""
    with losing(lock(server.url, "mutex", expires_in=LEASE)) as lease:
        granted = rival(server, lambda: True)

        server.pause()
        assert lease.lost.wait(10)
        with pytest.raises(LockLost):
            lease.check()
        assert not granted.done()
        # By the clock of the server the lease ends a little later.
        time.sleep(0.1)
        server.resume()

        assert granted.result(10)
    assert lease.id not in known(server)


def test_lease_at_risk_recovers_once_its_server_goes_on(server: Server) -> None:
    """A heartbeat without an answer is repeated; whoever is in time after all has lost nothing."""
    with lock(server.url, "mutex", expires_in=1.5 * LEASE) as lease:
        assert not lease.at_risk
        server.pause()
        wait_until(lambda: lease.at_risk)
        server.resume()

        wait_until(lambda: not lease.at_risk)
        lease.check()
        assert {"mutex": lease.token} == known(server)[lease.id]["tokens"]


def test_lease_is_at_risk_before_it_is_lost_and_both_are_logged(
    proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning goes before the error; both name the peer and what it holds."""
    with losing(lock(proxy.url, "mutex", expires_in=1.5 * LEASE)) as lease:
        proxy.hang()
        wait_until(lambda: lease.at_risk)
        was_lost = lease.lost.is_set()
        assert lease.lost.wait(10)
        wait_until(lambda: len(caplog.records) == 2)

    assert not was_lost
    assert ["WARNING", "ERROR"] == [record.levelname for record in caplog.records]
    for record in caplog.records:
        assert record.name == "throttle_client"
        assert str(lease.id) in record.getMessage()
        assert "`mutex`" in record.getMessage()


def test_on_lost_is_called_once_in_a_thread_of_its_own(server: Server) -> None:
    """However often the loss is noticed, it is told once."""
    calls = []

    def on_lost(lost: Lease) -> None:
        calls.append((lost, threading.current_thread()))

    with losing(lock(server.url, "A", on_lost=on_lost, **UNATTENDED)) as lease:
        wait_until(lambda: calls)
        for _ in range(3):
            assert lease.lost.is_set()
            with pytest.raises(LockLost):
                lease.check()

    ((told, thread),) = calls
    assert lease is told
    assert threading.main_thread() is not thread


def test_on_lost_that_fails_is_logged_and_does_no_harm(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """What a callback raises reaches the log, and nobody else."""

    def fail(_: Lease) -> None:
        raise RuntimeError("on purpose")

    with losing(lock(server.url, "A", on_lost=fail)) as lease:
        Client(server.url).release(lease.id)
        with pytest.raises(LockLost):
            lease.heartbeat()
        wait_until(lambda: "on purpose" in caplog.text)


def test_loss_can_be_left_to_the_block(server: Server) -> None:
    """With `raise_if_lost=False`, leaving the block is quiet."""
    with lock(server.url, "A", raise_if_lost=False, **UNATTENDED) as lease:
        assert lease.lost.wait(10)

    assert lease.lost
    with pytest.raises(LockLost):
        lease.check()


def test_loss_does_not_replace_an_exception_of_the_block(server: Server) -> None:
    """What the block raises is kept, and gets a note."""

    def hold_until_lost() -> None:
        with lock(server.url, "A", **UNATTENDED) as lease:
            assert lease.lost.wait(10)
            raise KeyError("on purpose")

    with pytest.raises(KeyError) as caught:
        hold_until_lost()

    (note,) = caught.value.__notes__
    assert "lost `A`" in note


def test_all_nested_locks_of_a_peer_are_lost_together(server: Server) -> None:
    """Each of them tells so, and the inner one's `LockLost` is kept."""
    told: list[Lease] = []
    leases: list[Lease] = []

    def hold_until_lost() -> None:
        options = {**UNATTENDED, "on_lost": told.append}
        with (
            lock(server.url, "high", **options) as outer,
            lock(server.url, "A", **options) as inner,
        ):
            leases.extend((outer, inner))
            assert inner.lost.wait(10)
            assert outer.lost.is_set()
            wait_until(lambda: len(told) == 2)

    with pytest.raises(LockLost, match="`A`") as caught:
        hold_until_lost()

    assert {id(lease) for lease in leases} == {id(lease) for lease in told}
    (note,) = caught.value.__notes__
    assert "lost `high`" in note


def test_no_lock_nests_in_a_lost_one(server: Server, proxy: Proxy) -> None:
    """Whoever lost an outer lock is told so before anything is asked for."""
    with lock(proxy.url, "high", raise_if_lost=False, **UNATTENDED) as lease:
        assert lease.lost.wait(10)
        sent = list(proxy.requests)

        with pytest.raises(LockLost), lock(proxy.url, "A"):
            pass

        assert sent == proxy.requests
