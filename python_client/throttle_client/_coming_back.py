"""Heartbeats, and what to do when the server does not know the peer any more.

Under the same start of the server, the lease was lost. Under another one, the server was restarted
and lost its memory: what is held by our own clock is restored, and goes on. Nothing is ever taken
back after our own clock says that the lease has ended.
"""

import logging

from throttle_client._client import LARGEST_ID, SMALLEST_ID, draw_id
from throttle_client._durations import spell
from throttle_client._errors import Refused, UnknownPeer, Unreachable
from throttle_client._holding import Holding
from throttle_client._wire import REPLY_SECONDS, Answer, Wire, call, refusal, request

logger = logging.getLogger("throttle_client")

EXPIRED_OR_RELEASED = "the server has expired it, or somebody released it"


async def beat(wire: Wire, holding: Holding, timeout: float = REPLY_SECONDS) -> None:
    """Send one heartbeat, and restore the peer if the server was restarted.

    Raises:
        LockLost: The lease is lost.
        UnknownPeer: The server does not know the peer, which holds nothing to be restored.
        Refused: The server refused it.
        Unreachable: No answer; the lease goes on as long as our own clock says.
    """
    body = {"expires_in": spell(holding.length)}
    answer = await wire.send(request("PUT", "peers", holding.id, body=body), timeout)
    if answer.is_good:
        _require_ok(answer)
        if not holding.renew(answer):
            await restore(wire, holding, timeout)
        return
    error = refusal(answer)
    if not isinstance(error, UnknownPeer):
        raise error
    if not holding.is_over:
        await come_back(wire, holding, error, timeout)
        if not holding.is_known:
            raise error


async def come_back(
    wire: Wire, holding: Holding, error: UnknownPeer, timeout: float = REPLY_SECONDS
) -> None:
    """Restore what is held, after the server said that it does not know the peer.

    A peer that holds nothing has nothing to restore; it is made anew with its next ask.

    Raises:
        LockLost: The lease is lost.
        Unreachable: No answer; to be tried again.
    """
    if not holding.acquired:
        holding.is_known = False
        if not SMALLEST_ID <= holding.id <= LARGEST_ID:
            holding.id = draw_id()
        return
    holding.check()
    if error.instance is not None and error.instance == holding.instance:
        holding.lose(EXPIRED_OR_RELEASED)
        holding.check()
    await restore(wire, holding, timeout)


async def restore(wire: Wire, holding: Holding, timeout: float = REPLY_SECONDS) -> None:
    """Bring the peer back with all that it holds.

    Raises:
        LockLost: The server refuses that, for instance since the peer was revoked.
        Unreachable: No answer; to be tried again.
    """
    with holding.mutex:
        acquired, tokens = dict(holding.acquired), dict(holding.tokens)
    body = {"expires_in": spell(holding.length), "peer_id": holding.id, "acquired": acquired}
    about = {} if holding.client.is_classic else holding.about.spell()
    with_tokens = {"tokens": tokens} if tokens else {}
    answer = await wire.send(request("POST", "restore", body=body | about | with_tokens), timeout)
    if with_tokens and answer.status in (400, 422):
        # The clock of the server was set back, or it is one that knows no tokens.
        answer = await wire.send(request("POST", "restore", body=body | about), timeout)
    if about and answer.status in (400, 422):
        # What is held matters more than what it is called.
        answer = await wire.send(request("POST", "restore", body=body), timeout)
    if answer.is_good:
        _require_ok(answer)
        holding.confirm(acquired, answer)
        if not holding.renew(answer):
            # What was granted meanwhile was granted by the start of the server that is gone.
            holding.lose("the server was restarted just after it had granted it")
            holding.check()
        logger.warning("restored peer %s after a restart of the server", holding.id)
        await _release_what_is_gone(wire, holding, acquired)
        return
    refused = refusal(answer)
    if isinstance(refused, Unreachable):
        raise refused
    if not _exists_already(refused):
        holding.lose(f"it could not be restored after a restart of the server: {refused}")
        holding.check()
    if holding.is_in_doubt(answer.instance):
        # Unless another thread is about to hear that it has restored it, nobody has; then the lease
        # runs out.
        raise Unreachable(f"peer {holding.id} is not known to be restored: {refused}")


async def _release_what_is_gone(wire: Wire, holding: Holding, restored: dict[str, int]) -> None:
    """Release what was given back while it was being restored; it would stay for a lease."""
    with holding.mutex:
        # What is asked for right now is not gone; whoever asks later waits for this withdrawal.
        asked = {semaphore for ask in holding.asks for semaphore in ask.counts}
        gone = restored.keys() - holding.acquired.keys() - asked
        is_over = holding.is_over
        holding.count_withdrawals(1)
    try:
        if is_over:
            await call(wire, request("DELETE", "peers", holding.id), REPLY_SECONDS)
            return
        for semaphore in gone:
            await call(wire, request("DELETE", "peers", holding.id, semaphore), REPLY_SECONDS)
    finally:
        holding.count_withdrawals(-1)


def _require_ok(answer: Answer) -> None:
    """Raise `Unreachable` if this is not what a server says, but perhaps a page of some proxy."""
    if answer.body.strip() != "Ok":
        raise Unreachable(f"unexpected answer {answer.status}, is this a Throttle server?")


def _exists_already(error: Exception) -> bool:
    """Whether another thread of this process has restored the peer meanwhile, and went on."""
    text = "Restore is not allowed to change existing peers."
    return isinstance(error, Refused) and (error.code == "restore_conflict" or text in str(error))
