"""What is recorded of a run, as values: asks and holds of clients, faults, events of the server.

All times are those of one clock, `now` of the client: the one that its leases run on, which all
processes of a machine share (on Linux CLOCK_BOOTTIME, which differs from CLOCK_MONOTONIC only in
that it goes on while the machine sleeps). So the end of a lease by the client's own reckoning can
be compared with what others did.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

NEVER = float("inf")
# What the server counts, and what it calls that.
COUNTERS = {
    "granted": "acquired",
    "released": "released",
    "expired": "expired",
    "cancelled": "cancelled",
    "restored": "restored",
}


@dataclass(frozen=True, slots=True)
class Ask:
    """Somebody wanted locks.

    Attributes:
        worker: The process.
        counts: How many permits of which semaphores.
        timeout: For how many seconds it was willing to wait; `None` for ever.
        sent: When it began to ask.
        answered: When it knew the outcome; `NEVER` where it does not know it yet.
        outcome: `granted`, `timeout`, `lost` (an outer lock), `unreachable`, or what is none of
            what the client promises; empty where there is none yet.
    """

    worker: int
    counts: Mapping[str, int]
    timeout: float | None
    sent: float
    answered: float = NEVER
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Hold:
    """Somebody believed to hold locks that were granted together.

    Attributes:
        worker: The process.
        peer: Whose locks they are.
        counts: How many permits of which semaphores.
        token: That of the grant.
        begin: When the client had said so.
        noticed: When the program went on to give them back, or learned that they are lost.
        until: When belief ended: the same, or earlier where the lease had ended by the client's
            own clock. A process that was stopped notices late.
        is_lost: Whether the lease was lost.
    """

    worker: int
    peer: int
    counts: Mapping[str, int]
    token: int
    begin: float
    noticed: float
    until: float
    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """Something was broken for a while.

    Attributes:
        kind: What was done.
        worker: The process to which it was done, if it was one of the clients.
    """

    kind: str
    began: float
    ended: float
    worker: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One line of `/events` about a lock; `after_ms` and `at` are the server's own."""

    kind: str
    peer: int
    semaphore: str
    count: int
    token: int | None
    after_ms: int
    at: str


@dataclass(slots=True)
class Stretch:
    """What one start of the server told a listener, from some moment on, with nothing left out.

    Attributes:
        instance: Which start it was.
        is_first: Whether the listener was there before any client was.
        before: The counters right after the listener had come, by kind and semaphore; and what was
            pending then.
        after: The counters at the end, where somebody could still ask for them.
        has_missed: Whether the server said that something is lost.
    """

    instance: str
    is_first: bool
    before: dict[tuple[str, str], int]
    after: dict[tuple[str, str], int] | None = None
    events: list[Event] = field(default_factory=list)
    has_missed: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether it begins with the first thing that happened."""
        return not self.has_missed and (self.is_first or not any(self.before.values()))

    def tokens(self) -> Iterator[int]:
        """The tokens of its grants, each once, in their order."""
        last = None
        for event in self.events:
            if event.kind == "granted" and event.token is not None and event.token != last:
                last = event.token
                yield last


@dataclass(slots=True)
class History:
    """Everything that is known of a run.

    Attributes:
        semaphores: Max and level of each.
        lease: The length of the leases, in seconds.
        killed: When each client that was killed was still alive for certain.
        starts: For each start of the server but the first, a number that no token from before it
            reaches; empty where the wall clock tells nothing.
        stretches: What the server told, one for each of its starts.
        left_over: What was still acquired or pending at the end, in words.
    """

    semaphores: Mapping[str, tuple[int, int]]
    lease: float
    asks: list[Ask] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    killed: dict[int, float] = field(default_factory=dict)
    starts: list[int] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)

    def generation(self, token: int) -> int:
        """Count the starts of the server before the one that granted this token."""
        return sum(start <= token for start in self.starts)
