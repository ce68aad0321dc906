"""Giving locks back, and withdrawing asks: quick for the caller, and never forgotten.

The server is asked at once. If it does not answer soon, the background goes on asking until the
lease has ended anyway, and the caller need not wait.
"""

import logging
from collections.abc import Iterable

from throttle_client._background import release_later
from throttle_client._coming_back import EXPIRED_OR_RELEASED, come_back
from throttle_client._durations import now
from throttle_client._errors import LockLost, ThrottleError, UnknownPeer, Unreachable
from throttle_client._holding import Holding, spell_names
from throttle_client._wire import Request, Wire, refusal, request

logger = logging.getLogger("throttle_client")

# How long a caller waits at most for a server that does not answer, in seconds.
RELEASE_SECONDS = 2.0
# When an ask is withdrawn that the server does not know, it may still be on its way: ask again.
AFTERTHOUGHT_SECONDS = 1.0
# How often to look whether earlier releases are through, in seconds.
LOOK_SECONDS = 0.02
PEER_NOT_FOUND = '"Peer not found"'


async def give_back(wire: Wire, holding: Holding, semaphores: Iterable[str]) -> None:
    """Release locks, and the peer itself with its last one.

    Raises:
        LockLost: The server had expired or released the peer already, or the lease had ended by our
            own clock.
    """
    semaphores = list(semaphores)
    if holding.is_over and not holding.is_lost():
        # The caller has removed the peer by hand.
        return
    was_lost = holding.is_lost()
    done = 0
    try:
        is_last = holding.forget(semaphores)
        until = now() + RELEASE_SECONDS
        for release in _releases(holding, semaphores, is_last):
            if was_lost or not await _is_answered(wire, holding, release, is_last, until):
                break
            done += 1
    finally:
        # Also where Ctrl+C came in between.
        give_back_later(holding, semaphores, done)
    if holding.is_lost():
        raise LockLost(f"peer {holding.id} lost {spell_names(semaphores)}: {holding.loss}")


async def settle(wire: Wire, holding: Holding, until: float) -> None:
    """Wait until nothing of the peer is to be released any more; it would hit a new ask, too.

    Args:
        wire: The way to the server.
        holding: Who wants to ask.
        until: When to wait no longer, a time of `now()`.
    """
    while holding.pending_withdrawals and now() < until:
        await wire.sleep(LOOK_SECONDS)


def give_back_later(holding: Holding, semaphores: Iterable[str], done: int = 0) -> None:
    """Release locks in the background; the first ones are released already."""
    semaphores = list(semaphores)
    is_last = holding.forget(semaphores)
    release_later(holding, _releases(holding, semaphores, is_last)[done:])


async def withdraw(
    wire: Wire,
    holding: Holding,
    semaphores: Iterable[str],
    *,
    with_peer: bool,
    is_on_its_way: bool,
    in_background: bool,
) -> None:
    """Withdraw an ask that may be pending, or granted by now, and raise nothing.

    Args:
        wire: The way to the server.
        holding: Who asked.
        semaphores: Those of the ask.
        with_peer: Whether the peer was made for this ask, and goes with it.
        is_on_its_way: Whether the ask may still reach the server, after its withdrawal.
        in_background: Whether not to wait for an answer, since the server does not answer now.
    """
    if with_peer:
        holding.is_over = True
    # One that is pending goes as a whole with the first, one that is granted by now does not.
    releases = _releases(holding, list(semaphores), with_peer)
    until = now() + RELEASE_SECONDS
    try:
        while releases and not in_background and now() < until:
            answer = await wire.send(releases[0], until - now())
            if answer.status >= 500:
                break
            release = releases.pop(0)
            if is_on_its_way and (not with_peer or answer.body == PEER_NOT_FOUND):
                release_later(holding, [release], AFTERTHOUGHT_SECONDS)
    except ThrottleError as error:
        logger.debug("peer %s withdraws its ask in the background: %s", holding.id, error)
    finally:
        release_later(holding, releases, 0.0, AFTERTHOUGHT_SECONDS)


def _releases(holding: Holding, semaphores: list[str], is_last: bool) -> list[Request]:
    if is_last:
        return [request("DELETE", "peers", holding.id)]
    return [request("DELETE", "peers", holding.id, semaphore) for semaphore in semaphores]


async def _is_answered(
    wire: Wire, holding: Holding, release: Request, is_last: bool, until: float
) -> bool:
    """Send a release, twice if need be; whether the server has answered, whatever it said."""
    instance = holding.instance
    for is_repeated in (False, True):
        try:
            answer = await wire.send(release, max(until - now(), 0.1))
            if not answer.is_good:
                raise refusal(answer)
            if answer.body == PEER_NOT_FOUND:
                raise UnknownPeer(instance=answer.instance)
        except Unreachable:
            continue
        except UnknownPeer as error:
            # A release that is repeated may have been served the first time.
            if not is_repeated and error.instance is not None and error.instance == instance:
                holding.lose(EXPIRED_OR_RELEASED)
            elif not is_last:
                await _restore_the_rest(wire, holding, error, until)
        except ThrottleError as error:
            logger.warning("peer %s could not give back its lock: %s", holding.id, error)
        return True
    return False


async def _restore_the_rest(wire: Wire, holding: Holding, error: UnknownPeer, until: float) -> None:
    """Restore the outer locks after a restart of the server."""
    try:
        await come_back(wire, holding, error, max(until - now(), 0.1))
    except (LockLost, Unreachable) as trouble:
        # The one is told by the caller, the other is repeated by the next heartbeat.
        logger.info("peer %s is not restored: %s", holding.id, trouble)
