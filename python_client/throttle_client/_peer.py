"""`Peer`: somebody who owns locks, with the calls of the server on its behalf.

`lock` is the comfortable way; this is for those who keep the books themselves.
"""

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Self

from throttle_client._about import About, Labels
from throttle_client._asking import HASTE_SECONDS
from throttle_client._client import Client, ask_for_one, client_for
from throttle_client._coming_back import beat, come_back, restore
from throttle_client._durations import Duration, lease_seconds, now, seconds, spell
from throttle_client._errors import UnknownPeer
from throttle_client._giving_back import settle
from throttle_client._heartbeat import Heartbeat, end_watch
from throttle_client._holding import Holding
from throttle_client._wire import PATIENCE_SECONDS, Wire, call, insist, integer, request, run

DEFAULT_LEASE = timedelta(minutes=5)


class Peer:
    """A peer of a Throttle server, and what it holds there.

    Can be pickled: the copy has the same id, locks and lease (as far as the wall clocks of the two
    machines agree), but no heartbeat. A peer may be used by several threads, but can wait for one
    ask at a time.

    Its name and labels are those of whoever makes or restores it: a copy in another process says,
    by default, which process that is.

    Attributes:
        client: The calls of its server.
        heartbeats: Those that renew its lease, besides `lock`.
        heartbeat_interval: The time between two heartbeats, if not a third of the lease.
    """

    heartbeat_interval: Duration | None = None

    def __init__(
        self,
        client: Client,
        id: int | None = None,
        acquired: Mapping[str, int] | None = None,
        expiration_time: Duration | None = None,
        *,
        name: str | None = None,
        labels: Labels | None = None,
    ) -> None:
        """Make a peer at the server, or take over one that exists there.

        Args:
            client: The calls of its server.
            id: The id of a peer that exists; without it, one is made.
            acquired: What that peer holds. If the server does not know the peer, it is restored
                with that, for nobody can say how long its lease was.
            expiration_time: The length of its lease; five minutes by default.
            name: What the server calls it, see `lock`.
            labels: What the server shows beside the name, see `lock`. Of one that exists, both are
                told when it is restored.

        Raises:
            TypeError: An argument is of the wrong type.
            Refused: The server refused it.
            Unreachable: No answer for 30 seconds.
        """
        about = About(name, labels)
        lease = DEFAULT_LEASE if expiration_time is None else expiration_time
        length = lease_seconds(lease, "expiration_time")
        self._set_up(client, Holding(client, length, peer_id=id, about=about, acquired=acquired))
        if id is None:
            run(_make(client.blocking_wire(), self.holding))

    @classmethod
    def from_server_url(
        cls, baseurl: str, *, name: str | None = None, labels: Labels | None = None
    ) -> Self:
        """Make a peer at the server of that URL, such as `http://localhost:8000`.

        Raises:
            InvalidUrl: That is no URL of a server.
            Unreachable: No answer for 30 seconds.
        """
        return cls(client_for(baseurl), name=name, labels=labels)

    @classmethod
    def unborn(cls, client: Client, length: float, about: About) -> Self:
        """Prepare a peer that is made with its first lock."""
        peer = cls.__new__(cls)
        peer._set_up(client, Holding(client, length, about=about))
        return peer

    def _set_up(self, client: Client, holding: Holding) -> None:
        self.client = client
        self.holding = holding
        self.heartbeats: set[Heartbeat] = set()
        self._heartbeat: Heartbeat | None = None

    @property
    def id(self) -> int:
        """The id of the peer. It has a new one after it was released as a whole."""
        return self.holding.id

    @id.setter
    def id(self, value: int) -> None:
        self.holding.id = value

    @property
    def acquired(self) -> dict[str, int]:
        """The locks that it holds: counts by semaphore."""
        return self.holding.acquired

    @acquired.setter
    def acquired(self, value: Mapping[str, int]) -> None:
        self.holding.acquired = dict(value)

    @property
    def expiration_time(self) -> timedelta:
        """The length of its lease; what is set counts from the next renewal."""
        return timedelta(seconds=self.holding.length)

    @expiration_time.setter
    def expiration_time(self, value: Duration) -> None:
        self.holding.length = lease_seconds(value, "expiration_time")

    def has_acquired(self) -> bool:
        """Whether it holds anything, as far as it knows."""
        return bool(self.acquired)

    def acquire(self, semaphore: str, count: int = 1, block_for: Duration | None = None) -> bool:
        """Ask for a lock, renew the lease, and restore the peer if the server was restarted.

        Args:
            semaphore: Of which semaphore.
            count: For how many permits.
            block_for: How long the server may hold the answer back until the lock is acquired.

        Returns:
            Whether it is acquired; if not, it is pending. Ask again, or `release` it.

        Raises:
            LockLost: What the peer holds already was lost.
            UnknownSemaphore: See there.
            Refused: See `Client.acquire`.
            Unreachable: No answer for 30 seconds.
        """
        park = 0.0 if block_for is None else seconds(block_for, "block_for")
        self.begin()
        return run(_ask_once(self.client.blocking_wire(), self.holding, semaphore, count, park))

    def release(self, semaphore: str) -> None:
        """Release a lock, or withdraw the ask that is pending; quiet where there is none.

        Raises:
            UnknownPeer: The server does not know the peer.
            UnknownSemaphore: See there.
            Unreachable: No answer for 30 seconds.
        """
        self.holding.require_ours()
        with self.holding.mutex:
            self.holding.acquired.pop(semaphore, None)
            self.holding.tokens.pop(semaphore, None)
        self.client.release_lock(self.id, semaphore)

    def restore(self) -> None:
        """Bring the peer back with all its locks, after a restart of the server.

        Raises:
            LockLost: The server refuses it.
            Unreachable: No answer for 30 seconds.
        """
        self._insist(restore)

    def heartbeat(self) -> None:
        """Renew the lease, or restore the peer if the server was restarted.

        One that holds nothing is made anew where the server does not know it.

        Raises:
            LockLost: The lease has ended.
            Unreachable: No answer for 30 seconds.
        """
        try:
            self._insist(beat)
        except UnknownPeer:
            run(_make(self.client.blocking_wire(), self.holding))

    def remove_from_server(self) -> None:
        """Release the peer and all its locks; quiet where there is no such peer.

        Raises:
            Unreachable: No answer for 30 seconds.
        """
        self.holding.require_ours()
        self.stop_heartbeat()
        self.holding.forget(list(self.acquired))
        self.client.release(self.id)

    def start_heartbeat(self) -> None:
        """Renew the lease in the background from now on; `lock` does that by itself."""
        if self._heartbeat is None:
            self._heartbeat = Heartbeat(self, self.heartbeat_interval)
        self._heartbeat.start()

    def stop_heartbeat(self) -> None:
        """Renew the lease no more; quiet where that was not begun."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
            self._heartbeat = None
        elif self.holding.watchers == 0:
            # A `lock` left it running for what is held besides.
            end_watch(self.holding, even_if_held=True)

    @property
    def heartbeat_seconds(self) -> float | None:
        """The time between two heartbeats, if it has one of its own."""
        interval = self.heartbeat_interval
        return None if interval is None else lease_seconds(interval, "heartbeat_interval")

    def begin(self) -> None:
        """Begin a new life, under a new id, if the last one is over."""
        old = self.holding
        if old.is_over or not old.is_ours:
            self.holding = Holding(self.client, old.length, about=old.about)
            for heartbeat in list(self.heartbeats):
                heartbeat.stop()
                heartbeat.start()

    def __repr__(self) -> str:
        """Show the id, and what is held."""
        return f"<{type(self).__name__} {self.id} at {self.client.address} holds {self.acquired}>"

    def __getstate__(self) -> dict[str, Any]:
        """Keep what another process needs to act as this peer."""
        holding = self.holding
        return {
            "client": self.client,
            "length": holding.length,
            # An id is not used again once it was released.
            "peer_id": None if holding.is_over else holding.id,
            "about": holding.about,
            "acquired": dict(holding.acquired),
            "tokens": dict(holding.tokens),
            "instance": holding.instance,
            "good_until": time.time() + holding.left(),
            "heartbeat_interval": self.heartbeat_interval,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what the original held."""
        self.heartbeat_interval = state.pop("heartbeat_interval")
        good_for = state.pop("good_until") - time.time()
        instance = state.pop("instance")
        self._set_up(state["client"], Holding(**state))
        if math.isfinite(good_for):
            self.holding.resume(instance, good_for)

    def _insist(self, attempt: Callable[[Wire, Holding], Awaitable[None]]) -> None:
        self.holding.require_ours()
        wire = self.client.blocking_wire()
        run(insist(wire, lambda: attempt(wire, self.holding), PATIENCE_SECONDS))


class PeerWithHeartbeat(Peer):
    """A peer with an interval of its own between heartbeats."""

    def __init__(
        self,
        client: Client,
        id: int | None = None,
        acquired: Mapping[str, int] | None = None,
        expiration_time: Duration | None = None,
        heartbeat_interval: Duration | None = None,
        *,
        name: str | None = None,
        labels: Labels | None = None,
    ) -> None:
        """Make a peer at the server, or take over one that exists there, see `Peer`.

        Args:
            client: The calls of its server.
            id: The id of a peer that exists; without it, one is made.
            acquired: What that peer holds.
            expiration_time: The length of its lease; five minutes by default.
            heartbeat_interval: The time between two heartbeats, if it is to be shorter than a third
                of the lease.
            name: What the server calls it.
            labels: What the server shows beside the name.

        Raises:
            TypeError: An argument is of the wrong type.
            Refused: The server refused it.
            Unreachable: No answer for 30 seconds.
        """
        if heartbeat_interval is not None:
            lease_seconds(heartbeat_interval, "heartbeat_interval")
        super().__init__(client, id, acquired, expiration_time, name=name, labels=labels)
        self.heartbeat_interval = heartbeat_interval

    @property
    def interval_sec(self) -> float | None:
        """The time between two heartbeats in seconds, if not a third of the lease."""
        return self.heartbeat_seconds


async def _make(wire: Wire, holding: Holding) -> None:
    """Make a peer at the server that holds nothing yet.

    Raises:
        Refused: The server refused it.
        Unreachable: No answer for 30 seconds.
    """
    body: dict[str, object] = {"expires_in": spell(holding.length)}
    if not holding.client.is_classic:
        body |= {"peer_id": holding.id, **holding.about.spell()}
    answer = await call(wire, request("POST", "new_peer", body=body), PATIENCE_SECONDS)
    # A server that does not let callers choose draws an id itself.
    holding.id = integer(answer)
    holding.renew(answer)


async def _ask_once(wire: Wire, holding: Holding, semaphore: str, count: int, park: float) -> bool:
    """Ask for one lock, and leave the ask pending if it is not granted.

    Args:
        wire: The way to the server.
        holding: Who asks.
        semaphore: Of which semaphore.
        count: For how many permits.
        park: For how many seconds the server may hold the answer back.

    Returns:
        Whether the lock is acquired.

    Raises:
        LockLost: What the peer holds already was lost.
        Refused: The server refused it.
        Unreachable: No answer for 30 seconds.
    """
    query = {"expires_in": spell(holding.length)}
    if park:
        query["block_for"] = spell(park)
    until = now() + PATIENCE_SECONDS
    while True:
        await settle(wire, holding, until)
        holding.check()
        if not holding.is_known:
            await _make(wire, holding)
        ask = ask_for_one(holding.id, semaphore, count, query)
        try:
            answer = await call(wire, ask, PATIENCE_SECONDS, park)
        except UnknownPeer as error:
            attempt = partial(come_back, wire, holding, error)
            await insist(wire, attempt, PATIENCE_SECONDS)
            continue
        is_granted = answer.status == 200
        if holding.grant({semaphore: count}, answer) if is_granted else holding.renew(answer):
            return is_granted
        await wire.sleep(HASTE_SECONDS)
