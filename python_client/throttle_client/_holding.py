"""`Holding`: what one peer holds at the server, and for how long by our own clock.

It sends nothing. The threads of a process share it: whoever asks, and whoever sends heartbeats.
"""

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol
from weakref import WeakSet

from throttle_client._about import About
from throttle_client._client import Client, draw_id
from throttle_client._durations import now
from throttle_client._errors import LockLost
from throttle_client._wire import Answer

# Clocks of two machines run apart by less than this share of a lease.
DRIFT = 0.01
# A lease is at risk once no more than this share of it is left: two beats have failed by then.
RISK = 1 / 6


class Asking(Protocol):
    """Somebody who asks for locks."""

    counts: Mapping[str, int]


class Watching(Protocol):
    """What watches over a holding: it renews the lease, and tells when it is lost."""

    def join(self, interval: float | None, *, beats: bool) -> None:
        """Have it watched over as somebody else wants it, too."""
        ...

    def stop(self) -> None:
        """Watch no more."""
        ...


class Holding:
    """The books of one life of a peer: from its first lock to its last. Ids are not used again.

    Attributes:
        client: Where the peer lives.
        id: Its id there.
        about: What the caller says of it.
        length: The length of its lease, in seconds, as it is asked for.
        acquired: The locks that it holds, with their counts.
        tokens: The fencing tokens of those that have one.
        known_to: Which start of the server is known to have each of these locks, for it has
            granted or restored it.
        instance: Which start of the server was the last to know it.
        is_known: Whether the server was heard to know it.
        is_over: Whether it was given back as a whole.
        watch: What watches over it, if anything does.
        watchers: How many want that.
        asks: The asks that are on their way; one that nobody waits for any more drops out.
        pending_withdrawals: How many withdrawals still try to reach the server.
        lost: Set once the lease is lost.
        loss: Why it was lost, or `None`.
        mutex: Held while the books change; nothing is sent meanwhile.
    """

    def __init__(
        self,
        client: Client,
        length: float,
        *,
        peer_id: int | None = None,
        about: About | None = None,
        acquired: Mapping[str, int] | None = None,
        tokens: Mapping[str, int] | None = None,
    ) -> None:
        """Begin a life; without an id, one that the server does not know yet."""
        self.client = client
        self.id = draw_id() if peer_id is None else peer_id
        self.about = about or About()
        self.length = length
        self.acquired = dict(acquired or {})
        self.tokens = dict(tokens or {})
        self.known_to: dict[str, int | None] = {}
        self.instance: int | None = None
        self.is_known = peer_id is not None
        self.is_over = False
        self.watch: Watching | None = None
        self.watchers = 0
        self.asks: WeakSet[Asking] = WeakSet()
        self.pending_withdrawals = 0
        # One that a signal handler or a finalizer may take again in the same thread.
        self.mutex = threading.RLock()
        self.lost = threading.Event()
        self.loss: str | None = None
        self._sent_at = float("-inf")
        self._good_for = float("inf")
        self._on_loss: list[Callable[[], None]] = []
        self._pid = os.getpid()

    @property
    def is_ours(self) -> bool:
        """Whether this process made it; a child process does not own what its parent holds."""
        return self._pid == os.getpid()

    @property
    def renewed_at(self) -> float:
        """When the last good request was sent, a time of `now()`; before there was one, -inf."""
        return self._sent_at

    @property
    def good_for(self) -> float:
        """How long the lease was, counted from then, in seconds; before there was one, inf."""
        return self._good_for

    def left(self) -> float:
        """Count the seconds that are left of the lease for certain; inf before there was one."""
        if self._sent_at == float("-inf"):
            return float("inf")
        return self._sent_at + (1 - DRIFT) * self._good_for - now()

    def is_at_risk(self) -> bool:
        """Whether the lease is about to end, since no heartbeat got through."""
        return self.is_ours and bool(self.acquired) and self.left() <= RISK * self.length

    def renew(self, answer: Answer) -> bool:
        """Take note of a good answer. One that was sent earlier than the last changes nothing.

        Returns:
            Whether it counts. It does not if it comes from a start of the server that is not known
            to have all that is held: that may know the peer from a request that was late, or have
            been told of less. Then the peer has to be restored.
        """
        with self.mutex:
            self.is_known = True
            if self.is_in_doubt(answer.instance):
                return False
            if answer.sent_at >= self._sent_at:
                self.instance = answer.instance
                self._sent_at = answer.sent_at
                left = answer.expires_in
                self._good_for = self.length if left is None else min(left, self.length)
            return True

    def is_in_doubt(self, instance: int | None) -> bool:
        """Whether that start of the server is not known to have all that is held.

        A server that does not say which start it is, is believed.
        """
        with self.mutex:
            return instance is not None and any(
                self.known_to.get(held, instance) != instance for held in self.acquired
            )

    def confirm(self, semaphores: Iterable[str], answer: Answer) -> None:
        """Take note that the server that answers has these locks: it granted or restored them."""
        with self.mutex:
            self.known_to.update(dict.fromkeys(semaphores, answer.instance))

    def begin_anew(self) -> None:
        """Become another peer, that holds nothing and that the server does not know yet."""
        with self.mutex:
            self.id = draw_id()
            self.is_known = False
            self.is_over = False
            self._sent_at, self._good_for = float("-inf"), float("inf")

    def resume(self, instance: int | None, good_for: float) -> None:
        """Take over a lease that another process had, and that is good for so many seconds."""
        self.instance = instance
        self.known_to = dict.fromkeys(self.acquired, instance)
        self._sent_at, self._good_for = now(), good_for / (1 - DRIFT)

    def grant(self, counts: Mapping[str, int], answer: Answer) -> bool:
        """Take note of a grant; nothing of it where it does not count.

        Returns:
            Whether it counts. It does not if it comes from another start of the server than the one
            that has what is held.
        """
        with self.mutex:
            if not self.renew(answer):
                return False
            self.acquired.update(counts)
            self.confirm(counts, answer)
            if answer.token is not None:
                self.tokens.update(dict.fromkeys(counts, answer.token))
            return True

    def forget(self, semaphores: Iterable[str]) -> bool:
        """Strike locks off the books, before the server is told; quiet where they are not there.

        Returns:
            Whether nothing is left and nothing is asked for, so that the peer itself can go.
        """
        with self.mutex:
            for semaphore in semaphores:
                self.acquired.pop(semaphore, None)
                self.tokens.pop(semaphore, None)
                self.known_to.pop(semaphore, None)
            self.is_over = not self.acquired and not self.asks
            return self.is_over

    def count_withdrawals(self, change: int) -> None:
        """Count withdrawals that begin (1) or end (-1) in the background."""
        with self.mutex:
            self.pending_withdrawals += change

    def when_lost(self, call: Callable[[], None]) -> None:
        """Call something, once, when the lease is lost, or now if it is; it must be quick."""
        with self.mutex:
            if self.loss is None:
                self._on_loss.append(call)
                return
        call()

    def tell_no_more(self, call: Callable[[], None]) -> None:
        """Do not call it any more when the lease is lost; quiet where nobody wanted that."""
        with self.mutex:
            if call in self._on_loss:
                self._on_loss.remove(call)

    def lose(self, reason: str) -> None:
        """Mark the lease as lost, for good; the first reason stands."""
        with self.mutex:
            if self.loss is not None:
                return
            self.loss = reason
            calls, self._on_loss = self._on_loss, []
        self.lost.set()
        for call in calls:
            call()

    def is_lost(self) -> bool:
        """Whether the lease was lost, or is that of a parent process. Asks the clock."""
        if not self.is_ours:
            return True
        if self.loss is None and self.acquired and self.left() <= 0:
            self.lose("its lease ended: no heartbeat got through")
        return self.loss is not None

    def check(self) -> None:
        """Raise `LockLost` if the lease was lost, or is that of a parent process."""
        self.require_ours()
        if self.is_lost():
            held = spell_names(self.acquired) or "what it held"
            raise LockLost(f"peer {self.id} lost {held}: {self.loss}")

    def require_ours(self) -> None:
        """Raise `LockLost` if it is that of a parent process."""
        if not self.is_ours:
            raise LockLost(f"peer {self.id} is held by the parent process")


def spell_names(semaphores: Iterable[str]) -> str:
    """Spell names of semaphores for people."""
    return ", ".join(f"`{semaphore}`" for semaphore in semaphores)
