"""Whether a server serves its queues as it promises, judged by its own events.

The discipline is that of `src/semaphore/permits.rs`: first come, first served, in each semaphore.
An ask for several walks through them, the highest level first; it stands in the next queue, under
its arrival, only once it has reserved the one before. Reservations are no events, so an ask that
has reserved something is known by what it leaves free.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from .history import Event, Stretch

Sizes = Mapping[str, tuple[int, int]]


def complaints_of_order(
    stretch: Stretch, semaphores: Sizes, *, is_clock_steady: bool = True
) -> list[str]:
    """Follow the events of one start of the server, and note what must not be.

    Args:
        stretch: What the server told.
        semaphores: Max and level of each.
        is_clock_steady: Whether events that are shown with different times cannot be of the same
            operation: the wall clock was not stepped meanwhile.
    """
    if stretch.has_missed:
        return []
    books = _Books(semaphores, is_complete=stretch.is_complete, is_clock_steady=is_clock_steady)
    for event in stretch.events:
        books.follow(event)
    if stretch.after is not None:
        # It was listened to until all was quiet, so the last operation has served all queues, too.
        books.check_that_nobody_is_left_waiting()
    return books.complaints


@dataclass(slots=True)
class _Ask:
    """An ask that waits.

    Attributes:
        arrival: Its number in the order of arrival.
        counts: What it asks for.
    """

    arrival: int
    peer: int
    counts: dict[str, int] = field(default_factory=dict)


class _Books:
    """What a listener knows of the books of a server.

    Where it has not been there from the beginning, it knows too little of what is acquired; then
    only who overtakes whom is looked at, among those whose arrival it has seen.
    """

    def __init__(self, semaphores: Sizes, *, is_complete: bool, is_clock_steady: bool) -> None:
        self.complaints: list[str] = []
        self._sizes = semaphores
        self._is_complete = is_complete
        self._is_clock_steady = is_clock_steady
        self._acquired: Counter[str] = Counter()
        # By peer: one has one ask at a time.
        self._asks: dict[int, _Ask] = {}
        self._arrivals = 0
        self._at = ""
        # Grants of one ask follow each other; what they have in common is the token.
        self._last: tuple[int, int | None] | None = None
        self._last_arrival: int | None = None
        self._has_granted = False

    def follow(self, event: Event) -> None:
        """Take the next event."""
        if event.at != self._at:
            # Another moment, so another operation: the one before has served all queues.
            self._at = event.at
            self.check_that_nobody_is_left_waiting()
        match event.kind:
            case "pending":
                self._wait(event)
            case "granted":
                self._grant(event)
            case "restored":
                self._acquired[event.semaphore] += event.count
            case "released" | "expired":
                self._acquired[event.semaphore] -= event.count
            case "cancelled":
                self._cancel(event)

    def check_that_nobody_is_left_waiting(self) -> None:
        """The first in a queue does not fit; of one that wants several, that cannot be told.

        Before its first grant a server may keep to a recovery window.
        """
        if not (self._is_complete and self._is_clock_steady and self._has_granted):
            return
        first: dict[str, _Ask] = {}
        for ask in self._asks.values():
            for name in ask.counts:
                if name not in first or ask.arrival < first[name].arrival:
                    first[name] = ask
        for name, ask in first.items():
            free = self._sizes[name][0] - self._acquired[name]
            if len(ask.counts) == 1 and ask.counts[name] <= free:
                self.complaints.append(
                    f"peer {ask.peer} is left waiting for {ask.counts[name]} of `{name}`, of which"
                    f" {free} are free"
                )

    def _wait(self, event: Event) -> None:
        ask = self._asks.get(event.peer)
        if ask is None:
            self._arrivals += 1
            ask = self._asks[event.peer] = _Ask(self._arrivals, event.peer)
        ask.counts[event.semaphore] = event.count

    def _cancel(self, event: Event) -> None:
        ask = self._asks.get(event.peer)
        if ask is not None:
            ask.counts.pop(event.semaphore, None)
            if not ask.counts:
                del self._asks[event.peer]

    def _grant(self, event: Event) -> None:
        self._has_granted = True
        name = event.semaphore
        if self._last != (event.peer, event.token):
            self._last = (event.peer, event.token)
            ask = self._asks.pop(event.peer, None)
            if ask is not None:
                self._last_arrival = ask.arrival
            elif self._is_complete:
                # It was granted as it came.
                self._arrivals += 1
                self._last_arrival = self._arrivals
            else:
                # It may have come before the listener.
                self._last_arrival = None
        self._acquired[name] += event.count
        max_, _ = self._sizes[name]
        if self._acquired[name] > max_:
            self.complaints.append(
                f"a grant to peer {event.peer} raised `{name}` to {self._acquired[name]} of {max_}"
            )
        self._check_that_nobody_is_overtaken(event)

    def _check_that_nobody_is_overtaken(self, event: Event) -> None:
        if self._last_arrival is None:
            return
        name = event.semaphore
        earlier = [
            ask
            for ask in self._asks.values()
            if name in ask.counts and ask.arrival < self._last_arrival
        ]
        for ask in earlier:
            if len(ask.counts) == 1:
                self.complaints.append(
                    f"peer {event.peer} was granted `{name}` before peer {ask.peer}, who came first"
                )
        if not self._is_complete:
            return
        # Those who begin their walk here stand here, unless they have reserved what they want.
        reserved = sum(
            ask.counts[name]
            for ask in earlier
            if len(ask.counts) > 1 and self._walks_from(ask) == name
        )
        max_, _ = self._sizes[name]
        if reserved and self._acquired[name] + reserved > max_:
            self.complaints.append(
                f"peer {event.peer} was granted `{name}`, where those who came first need"
                f" {reserved} of {max_}, and {self._acquired[name]} are acquired"
            )

    def _walks_from(self, ask: _Ask) -> str | None:
        """Where an ask stands first; among equals that is up to the server."""
        highest = max(self._sizes[name][1] for name in ask.counts)
        first = [name for name in ask.counts if self._sizes[name][1] == highest]
        return first[0] if len(first) == 1 else None
