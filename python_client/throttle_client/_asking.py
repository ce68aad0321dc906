"""Acquiring locks: ask, wait, ask again, and withdraw the ask if it comes to nothing.

A lock costs one request to take, which makes the peer as well, and one to give back. A server that
does not know such requests is served with the classic ones.
"""

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from throttle_client._client import ask_for_one
from throttle_client._coming_back import come_back
from throttle_client._durations import now, spell
from throttle_client._errors import (
    InvalidUrl,
    NotSupported,
    Refused,
    Timeout,
    TlsRefused,
    UnknownPeer,
    UnknownSemaphore,
    Unreachable,
)
from throttle_client._giving_back import give_back_later, settle, withdraw
from throttle_client._holding import Holding
from throttle_client._wire import (
    REPLY_SECONDS,
    Answer,
    Backoff,
    Request,
    Wire,
    integer,
    refusal,
    request,
)

logger = logging.getLogger("throttle_client")

# How long the server holds an answer back at most, in seconds: well below what proxies and
# firewalls grant an idle connection, and how long a waiter takes to notice a dead server. On
# Windows, Ctrl+C is noticed when the answer comes.
PARK_SECONDS = 5.0 if sys.platform == "win32" else 30.0
# How long after its timeout a caller waits at most for an answer that is late, in seconds; and how
# long a try may take.
GRACE_SECONDS = 2.0
# An ask that was sent so short ago may reach the server after its own withdrawal, in seconds.
JUST_NOW_SECONDS = 1.0
# The pause before an ask is repeated that was answered too early, in seconds.
HASTE_SECONDS = 0.1


async def take(
    wire: Wire,
    holding: Holding,
    counts: Mapping[str, int],
    timeout: float | None,
    waited: float = 0.0,
) -> int | None:
    """Acquire locks, all together.

    Args:
        wire: The way to the server.
        holding: Who asks. Its books have the locks afterwards.
        counts: How many permits of which semaphores.
        timeout: For how many seconds to wait; 0 to try; `None` to wait for ever.
        waited: How many of them are over.

    Returns:
        The fencing token of the grant; `None` if the server knows none.

    Raises:
        Timeout: Not acquired in time.
        LockLost: What the peer holds already was lost.
        Unreachable: The server did not answer at all within the timeout.
        Refused: The server refused it.
    """
    asking = _Asking(wire, holding, counts, timeout, waited)
    holding.asks.add(asking)
    try:
        token = await asking.until_granted()
        asking.in_doubt = False
        return token
    except BaseException:
        await asking.withdraw()
        raise
    finally:
        holding.asks.discard(asking)
        if asking.in_doubt:
            # Ctrl+C came before the withdrawal was through, perhaps before it began.
            give_back_later(holding, counts)


async def untake(wire: Wire, holding: Holding, counts: Mapping[str, int]) -> None:
    """Give back what was acquired just now, since something came in between."""
    is_last = holding.forget(counts)
    await withdraw(
        wire, holding, counts, with_peer=is_last, is_on_its_way=False, in_background=False
    )


@dataclass(frozen=True, slots=True)
class _Ask:
    """One request, and how to read its answer.

    Attributes:
        request: What to send.
        park: For how many seconds the server is asked to hold the answer back.
        is_classic: Whether it is one that all servers understand.
        is_for_locks: Whether it asks for locks, instead of only making the peer.
    """

    request: Request
    park: float
    is_classic: bool = False
    is_for_locks: bool = True


class _Asking:
    """One caller who waits for locks."""

    def __init__(
        self,
        wire: Wire,
        holding: Holding,
        counts: Mapping[str, int],
        timeout: float | None,
        waited: float,
    ) -> None:
        self.was_known = holding.is_known
        # Whether the server may have the ask in its books.
        self.in_doubt = False
        self._wire = wire
        self._holding = holding
        self.counts = counts
        self._timeout = timeout
        self._is_try = timeout == 0
        self._began_at = now()
        self._until = float("inf") if timeout is None else now() + timeout - waited
        self._token: int | None = None
        # Whether this server overlooks what it does not know, whatever its headers say.
        self._is_classic = False
        self._backoff = Backoff()
        self._failures = 0
        self._starts = 0
        # Whether the last request failed for want of an answer.
        self.is_unreachable = False
        # When the request was sent that has no answer yet.
        self._sent_at: float | None = None
        # Whether the server has answered at least once.
        self._is_reached = False

    async def until_granted(self) -> int | None:
        """Ask until the locks are granted or never will be."""
        while True:
            self._holding.check()
            try:
                if await self._is_granted():
                    return self._token
                if self._left() <= (-GRACE_SECONDS if self._is_try else 0.0):
                    raise self._too_late()
            except Unreachable as error:
                await self._pause(error)

    async def withdraw(self) -> None:
        """Leave nothing of the ask behind."""
        if not self.in_doubt:
            return
        is_sent_just_now = self._sent_at is not None and now() - self._sent_at < JUST_NOW_SECONDS
        self._holding.forget(self.counts)
        await withdraw(
            self._wire,
            self._holding,
            self.counts,
            with_peer=not self.was_known,
            is_on_its_way=is_sent_just_now,
            # Whoever is late already does not wait any longer.
            in_background=self.is_unreachable or self._left() < -GRACE_SECONDS / 4,
        )
        self.in_doubt = False

    async def _is_granted(self) -> bool:
        """Ask once."""
        await settle(self._wire, self._holding, self._until)
        ask = self._next_ask()
        try:
            answer = await self._send(ask)
        except UnknownPeer as error:
            self.in_doubt = False
            await come_back(self._wire, self._holding, error)
            return await self._start_again()
        except Refused as error:
            await self._on_refusal(error)
            return False
        if answer.status == 202:
            if answer.body != str(self._holding.id):
                raise Unreachable("unexpected answer 202, is this a Throttle server?")
            self._holding.renew(answer)
            if self._is_try:
                raise self._too_late()
            if now() - answer.sent_at < ask.park / 2:
                # It did not hold the answer back, for instance since it shuts down.
                await self._wire.sleep(max(min(HASTE_SECONDS, self._left()), 0.0))
            return False
        return await self._read_grant(ask, answer)

    def _next_ask(self) -> _Ask:
        """Decide what to send next."""
        holding, length = self._holding, spell(self._holding.length)
        park = 0.0 if self._is_try else min(PARK_SECONDS, holding.length / 3, self._left())
        query = {"block_for": spell(park)} if park > 0 else {}
        if holding.client.is_classic or self._is_classic:
            return self._next_classic_ask(query, park)
        if self._is_try:
            query["queue"] = "false"
        body: dict[str, object] = {"expires_in": length, "acquire": dict(self.counts)}
        if holding.is_known:
            return _Ask(request("PUT", "peers", holding.id, query=query, body=body), park)
        body |= {"peer_id": holding.id, **holding.about.spell()}
        return _Ask(request("POST", "new_peer", query=query, body=body), park)

    def _next_classic_ask(self, query: dict[str, str], park: float) -> _Ask:
        holding, length = self._holding, spell(self._holding.length)
        if not holding.is_known:
            make_peer = request("POST", "new_peer", body={"expires_in": length})
            return _Ask(make_peer, 0.0, is_classic=True, is_for_locks=False)
        if len(self.counts) > 1:
            raise NotSupported("this server cannot grant several semaphores together")
        ((semaphore, count),) = self.counts.items()
        query = {**query, "expires_in": length}
        return _Ask(ask_for_one(holding.id, semaphore, count, query), park, is_classic=True)

    async def _send(self, ask: _Ask) -> Answer:
        """Send an ask, and keep track of whether the server may have it in its books.

        Raises:
            Unreachable: It was not served for now.
            Refused: It was refused; if an earlier one is in doubt, so is this one.
        """
        was_in_doubt = self.in_doubt
        self.in_doubt = True
        self._sent_at = now()
        patience = min(ask.park + REPLY_SECONDS, max(self._left(), 0.0) + GRACE_SECONDS)
        try:
            answer = await self._wire.send(ask.request, patience)
        except (TlsRefused, InvalidUrl):
            self.in_doubt = was_in_doubt
            raise
        except Unreachable as unreachable:
            self.in_doubt = was_in_doubt or unreachable.is_sent
            self.is_unreachable = True
            raise
        self._sent_at = None
        self._is_reached = True
        self.is_unreachable = False
        if answer.is_good:
            self._backoff = Backoff()
            self._failures = 0
            return answer
        error = refusal(answer)
        self.in_doubt = was_in_doubt or (isinstance(error, Unreachable) and error.is_sent)
        raise error

    async def _on_refusal(self, error: Refused) -> None:
        """Start anew where that helps, otherwise raise."""
        holding = self._holding
        if error.code == "would_wait":
            raise self._too_late() from None
        if error.code == "peer_exists" and not self.was_known:
            # It is ours, and somebody took a part of it away meanwhile.
            await self._wire.send(request("DELETE", "peers", holding.id), REPLY_SECONDS)
            holding.begin_anew()
            await self._start_again()
            return
        if isinstance(error, UnknownSemaphore):
            where = f"asked {holding.client.address} for {_spell(self.counts)}"
            error.add_note(f"{where}; semaphores are made by the configuration of the server")
        raise error

    async def _read_grant(self, ask: _Ask, answer: Answer) -> bool:
        """Whether a 200 is a grant. Without a token, it is one of classic requests only."""
        holding = self._holding
        if not ask.is_for_locks:
            holding.id = integer(answer)
            holding.renew(answer)
            return False
        is_ours = answer.body == str(holding.id)
        if is_ours and (ask.is_classic or answer.token is not None):
            if not holding.grant(self.counts, answer):
                return await self._start_again()
            self._token = answer.token
            return await self._is_in_time()
        if answer.token is not None and answer.instance is not None:
            raise Refused(f"the server granted it to peer {answer.body[:40]}, not {holding.id}")
        # The server is one that overlooks what it does not know, and made a peer without locks.
        self._is_classic = True
        self.in_doubt = False
        if not holding.is_known:
            await self._wire.send(request("DELETE", "peers", integer(answer)), REPLY_SECONDS)
        return False

    async def _is_in_time(self) -> bool:
        """Whether the lease of a grant is still good: its answer may have been on the way for long.

        Raises:
            LockLost: It is not, and what was held before is lost with it.
        """
        holding = self._holding
        if holding.left() > 0:
            return True
        if len(holding.acquired) > len(self.counts):
            holding.check()
        logger.warning("the grant for %s came after its lease; asking again", _spell(self.counts))
        holding.forget(self.counts)
        await self._wire.send(request("DELETE", "peers", holding.id), REPLY_SECONDS)
        holding.begin_anew()
        return await self._start_again()

    async def _start_again(self) -> bool:
        """Begin with a new peer, after a pause if it is not the first time; nothing is granted."""
        self._starts += 1
        if self._starts > 1:
            await self._wire.sleep(HASTE_SECONDS)
        return False

    async def _pause(self, error: Unreachable) -> None:
        """Wait before the next try, or give up."""
        self._failures += 1
        left = self._left()
        if self._is_try:
            # A kept connection may have been closed meanwhile, which a second try finds out.
            if self._failures > 1 or now() - self._began_at > GRACE_SECONDS / 2:
                raise error
            return
        if left <= 0 and self._is_reached:
            raise self._too_late() from error
        if left <= 0:
            raise error
        if self._failures == 2:
            logger.warning("%s; still trying", error)
        await self._wire.sleep(min(self._backoff.next(error.retry_after), left))

    def _left(self) -> float:
        return self._until - now()

    def _too_late(self) -> Timeout:
        if self._is_try:
            return Timeout(f"{_spell(self.counts)} is not free")
        return too_late(self.counts, self._timeout)


def too_late(counts: Mapping[str, int], timeout: float | None) -> Timeout:
    """Say what was not acquired in time."""
    return Timeout(f"{_spell(counts)} was not acquired within {timeout:g} seconds")


def _spell(counts: Mapping[str, int]) -> str:
    """Spell an ask for people."""
    return ", ".join(f"{count} of `{semaphore}`" for semaphore, count in counts.items())
