"""`Lease`: what `lock` yields, which knows whether the lock is still held."""

import weakref
from collections.abc import Callable, Mapping
from threading import TIMEOUT_MAX
from typing import Any, NoReturn

from throttle_client._durations import Duration, seconds
from throttle_client._errors import LockLost
from throttle_client._holding import Holding
from throttle_client._peer import Peer


class LostFlag:
    """Whether a lease was lost, in the manner of a `threading.Event` that nobody else can set."""

    def __init__(self, holding: Holding) -> None:
        """Look at the books of a peer."""
        self._holding = holding

    def is_set(self) -> bool:
        """Whether the lease was lost. Asks our own clock; sends nothing."""
        return self._holding.is_lost()

    def wait(self, timeout: Duration | None = None) -> bool:
        """Block until the lease is lost, or for that long; returns whether it was lost."""
        patience = TIMEOUT_MAX if timeout is None else seconds(timeout, "timeout")
        return self.is_set() or self._holding.lost.wait(min(patience, TIMEOUT_MAX))

    def __bool__(self) -> bool:
        """Whether the lease was lost."""
        return self.is_set()


class Lease(Peer):
    """A lock that is held, or several that were granted together. Is a `Peer` as well.

    It tells by our own clock, not by asking the server: the lease counts as ended before the server
    would hand its permits on, provided that the two clocks run at the same pace within one percent.
    It cannot tell that a process is about to be paused: between `check` and whatever follows, the
    lease may end. Where that matters, let the resource compare `token`.

    Attributes:
        tell: What is called when it is lost, if somebody wants that.
        token: The fencing token: greater than that of each grant before it, for whatever semaphore
            of that server. `None` if the server knows none.
        semaphores: How many permits of which semaphores this very lock holds.
        lost: Whether the lease was lost.
        is_given_back: Whether its block was left.
    """

    def __init__(self, peer: Peer, holding: Holding, semaphores: Mapping[str, int]) -> None:
        """Wrap what a peer is about to hold."""
        self._set_up(peer.client, holding)
        self.heartbeat_interval = peer.heartbeat_interval
        self.semaphores = dict(semaphores)
        self.token: int | None = None
        self.tell: Callable[[], None] | None = None
        self._finalizer: weakref.finalize[..., Lease] | None = None
        self.lost = LostFlag(holding)
        self.is_given_back = False

    @property
    def at_risk(self) -> bool:
        """Whether less than a sixth of the lease is left, since no heartbeat got through."""
        return not self.is_given_back and self.holding.is_at_risk()

    def check(self) -> None:
        """Return if the lock is held; cheap, sends nothing.

        Raises:
            LockLost: The lease was lost, or the lock was given back, or it is that of a parent
                process.
        """
        self.holding.check()
        if self.is_given_back:
            raise LockLost(f"peer {self.id} has given it back already")

    def is_kept_by(self, finalizer: "weakref.finalize[..., Lease]") -> None:
        """Have something done should everybody forget the lease without ending it."""
        finalizer.atexit = False
        self._finalizer = finalizer

    def end(self) -> None:
        """Mark it as given back."""
        self.is_given_back = True
        if self._finalizer is not None:
            self._finalizer.detach()

    def begin(self) -> None:
        """Refuse to be used after its block, when nothing would renew it."""
        self.check()

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled."""
        raise TypeError(
            "a Lease cannot be pickled: it belongs to the block that holds it; send its token, or"
            " a Peer"
        )

    def __getstate__(self) -> Any:
        """Refuse to be copied."""
        self.__reduce__()
