"""`Heartbeat`: renews the lease of a peer, and tells when it is at risk or lost.

Each beat has a thread of its own, so that one that gets stuck delays nothing: neither the next peer
nor the moment at which the lease counts as lost, which the timer tells by our own clock. Asyncio is
served by the same threads, so a busy event loop loses no lease.
"""

import logging
import threading
from typing import TYPE_CHECKING, Any

from throttle_client._coming_back import beat
from throttle_client._durations import Duration, lease_seconds, now
from throttle_client._errors import LockLost, ThrottleError
from throttle_client._holding import RISK, Holding, spell_names
from throttle_client._timer import Entry, spawn, timer
from throttle_client._wire import REPLY_SECONDS, Backoff, jitter, run

if TYPE_CHECKING:
    from throttle_client._peer import Peer

logger = logging.getLogger("throttle_client")

# A beat is due after this share of a lease; two more may fail before the lease is at risk.
SHARE = 1 / 3


class Heartbeat:
    """Renews the lease of a peer in the background, from `start` to `stop`.

    `lock` does this by itself. Beats come after a third of the lease or the interval, whichever is
    shorter, and a little earlier by chance, so that many peers do not beat together. A beat that
    fails is repeated; as long as the lease lasts, nothing is lost.

    Attributes:
        peer: Whose lease it is.
    """

    def __init__(self, peer: "Peer", interval: Duration | None = None) -> None:
        """Prepare it; nothing is sent before `start`.

        Args:
            peer: Whose lease to renew.
            interval: The time between two beats, if it is to be shorter than a third of the lease.
        """
        self.peer = peer
        length = None if interval is None else lease_seconds(interval, "heartbeat_interval")
        self.interval_sec = length
        self._watched: Holding | None = None

    def start(self) -> None:
        """Begin; quiet if it has begun."""
        self.peer.heartbeats.add(self)
        if self._watched is None:
            self._watched = self.peer.holding
            begin_watch(self._watched, self.interval_sec)

    def stop(self) -> None:
        """End; quiet if it has ended. A beat that is on its way is not waited for."""
        self.peer.heartbeats.discard(self)
        if self._watched is not None:
            end_watch(self._watched, even_if_held=True)
            self._watched = None

    def __reduce__(self) -> Any:
        """Refuse to be pickled."""
        raise TypeError("a Heartbeat cannot be pickled: it belongs to its process; send the peer")


def begin_watch(holding: Holding, interval: float | None = None, *, beats: bool = True) -> None:
    """Have a holding watched over; once, however many locks nest in it.

    Args:
        holding: What to watch over.
        interval: Seconds between two beats, if shorter than a third of the lease.
        beats: Whether to send heartbeats, or only to tell. If one wants them, they are sent.
    """
    with holding.mutex:
        holding.watchers += 1
        if holding.watch is None:
            holding.watch = Watch(holding)
        watch = holding.watch
    watch.join(interval, beats=beats)


def end_watch(holding: Holding, *, even_if_held: bool = False) -> None:
    """Have it watched over no more, if nobody wants that.

    Args:
        holding: What was watched over.
        even_if_held: Whether to end it although something is held.
    """
    with holding.mutex:
        holding.watchers = max(holding.watchers - 1, 0)
        is_held = bool(holding.acquired) and not holding.is_over
        if holding.watchers > 0 or (is_held and not even_if_held):
            return
        watch, holding.watch = holding.watch, None
    if watch is not None:
        watch.stop()


class Watch:
    """Watches over one holding: beats when it is time, and tells when the lease is lost."""

    def __init__(self, holding: Holding) -> None:
        """Prepare it; it begins when somebody joins."""
        self._holding = holding
        self._interval = float("inf")
        self._beats = False
        self._jitter = jitter.uniform(0.8, 1.0)
        self._mutex = threading.RLock()
        self._entry: Entry | None = None
        self._is_running = False
        self._is_beating = False
        self._is_warned = False
        self._retry_at = float("-inf")
        self._backoff = Backoff()
        self._trouble = "no heartbeat was sent"

    def join(self, interval: float | None, *, beats: bool) -> None:
        """Have it watched over as somebody else wants it, too."""
        with self._mutex:
            self._beats = self._beats or beats
            self._interval = min(self._interval, float("inf") if interval is None else interval)
            self._is_running = True
            self._schedule()

    def stop(self) -> None:
        """Watch no more."""
        with self._mutex:
            self._is_running = False
            if self._entry is not None:
                timer.cancel(self._entry)

    def _schedule(self) -> None:
        """Have the timer call when something is next to do."""
        holding = self._holding
        # Where nothing is held, there is no lease that could be lost; but look now and then.
        wait = holding.length * SHARE
        if holding.acquired:
            left = holding.left()
            wait = min(wait, left if self._is_warned else left - RISK * holding.length)
        if self._beats and not self._is_beating:
            wait = min(wait, self._beat_at() - now())
        if self._entry is not None:
            timer.cancel(self._entry)
        self._entry = timer.at(now() + max(wait, 0.0), self._look)

    def _beat_at(self) -> float:
        """When the next beat is due."""
        holding = self._holding
        share = min(holding.good_for, holding.length) * SHARE
        due = holding.renewed_at + min(share, self._interval) * self._jitter
        return max(due, self._retry_at)

    def _look(self) -> None:
        """See what is to do. The timer calls this, so it must be quick."""
        holding = self._holding
        with self._mutex:
            is_wanted = holding.watchers > 0 or bool(holding.acquired)
            if holding.is_over or not holding.is_ours or not is_wanted:
                self._is_running = False
            if not self._is_running:
                return
            if holding.is_lost():
                self._is_running = False
                spawn(self._tell_loss, "throttle-warning")
                return
            if not holding.is_at_risk():
                self._is_warned = False
            elif not self._is_warned:
                self._is_warned = True
                spawn(self._warn, "throttle-warning")
            if self._beats and not self._is_beating and now() >= self._beat_at():
                self._is_beating = spawn(self._beat, "throttle-heartbeat")
                if not self._is_beating:
                    self._retry_at = now() + holding.length / 20
            self._schedule()

    def _beat(self) -> None:
        """Send one heartbeat, with a deadline well before the end of the lease."""
        holding = self._holding
        retry_at = float("-inf")
        try:
            timeout = min(REPLY_SECONDS, max(holding.left() / 3, 0.05), holding.length / 6)
            run(beat(holding.client.blocking_wire(), holding, timeout))
            self._backoff = Backoff()
            self._jitter = jitter.uniform(0.8, 1.0)
        except LockLost:
            pass
        except Exception as error:
            self._trouble = str(error)
            retry_at = now() + min(self._backoff.next(), holding.length / 12)
            if not isinstance(error, ThrottleError):
                logger.exception("a heartbeat of peer %s failed", holding.id)
        with self._mutex:
            self._is_beating = False
            self._retry_at = retry_at
            if self._is_running:
                self._schedule()

    def _warn(self) -> None:
        left, peer_id = max(self._holding.left(), 0.0), self._holding.id
        message = "peer %s is about to lose %s in %.1f seconds: %s"
        logger.warning(message, peer_id, self._spell(), left, self._trouble)

    def _tell_loss(self) -> None:
        logger.error("peer %s lost %s: %s", self._holding.id, self._spell(), self._trouble)

    def _spell(self) -> str:
        return spell_names(self._holding.acquired) or "its lease"
