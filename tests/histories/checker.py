"""What must hold of a history. Each check returns complaints, in words; none is a good sign.

Nothing here reads a clock, a file or a socket, so that bad histories can be made up to see each
complaint (`test_checker.py`). The order in which the server serves its queues is `order.py`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .history import COUNTERS, NEVER, Ask, Event, History, Hold, Stretch
from .order import complaints_of_order

# How much later than promised a server or a client on a busy machine may do something.
SLACK_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Promises:
    """What is promised of a run.

    Attributes:
        may_over_commit: Whether a restart without a recovery window leaves holders of an earlier
            start beside those that a later one has let in.
        tokens_grow: Whether tokens grow across restarts, too: the wall clock was not set back.
        is_clock_steady: Whether what happens in one moment is shown with one time.
    """

    may_over_commit: bool = False
    tokens_grow: bool = True
    is_clock_steady: bool = True


@dataclass(frozen=True, slots=True)
class Overlap:
    """For some time more permits of a semaphore were believed in than there are."""

    semaphore: str
    began: float
    ended: float
    holds: tuple[Hold, ...]

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.ended - self.began

    def __str__(self) -> str:
        """Say who was there."""
        who = ", ".join(
            f"peer {hold.peer} with {hold.counts[self.semaphore]} (token {hold.token})"
            for hold in self.holds
        )
        return f"`{self.semaphore}` was over-committed for {self.seconds:.3f} s: {who}"


def complaints(history: History, promises: Promises) -> list[str]:
    """Check everything."""
    return [
        *complaints_of_holds(history, promises),
        *(complaints_of_late_holds(history) if promises.tokens_grow else ()),
        *complaints_of_asks(history.asks, history.killed),
        *complaints_of_tokens(history, promises),
        *complaints_of_grants(history),
        *complaints_of_ghosts(history),
        *(text for stretch in history.stretches for text in complaints_of_counters(stretch)),
        *(
            text
            for stretch in history.stretches
            for text in complaints_of_order(
                stretch, history.semaphores, is_clock_steady=promises.is_clock_steady
            )
        ),
        *history.left_over,
    ]


def overlaps(
    holds: Iterable[Hold], semaphore: str, max_: int, *, noticed: bool = False
) -> list[Overlap]:
    """Find when more of a semaphore was believed in than there is.

    Args:
        holds: All holds.
        semaphore: Which one.
        max_: How many permits there are of it.
        noticed: Whether to count a hold until its program noticed its end, instead of until its
            lease ended by the client's own clock.
    """
    changes: list[tuple[float, int, int, Hold]] = []
    for number, hold in enumerate(holds):
        end = hold.noticed if noticed else hold.until
        if semaphore in hold.counts and hold.begin < end:
            changes.append((hold.begin, 1, number, hold))
            changes.append((end, 0, number, hold))
    found: list[Overlap] = []
    inside: dict[int, Hold] = {}
    party: dict[int, Hold] = {}
    began = NEVER
    for time, is_begin, number, hold in sorted(changes, key=lambda change: change[:3]):
        if is_begin:
            inside[number] = hold
        else:
            del inside[number]
        is_too_much = sum(one.counts[semaphore] for one in inside.values()) > max_
        if is_too_much:
            began = min(began, time)
            party.update(inside)
        elif party:
            found.append(Overlap(semaphore, began, time, tuple(party.values())))
            party, began = {}, NEVER
    return found


def all_overlaps(history: History) -> list[Overlap]:
    """Find all of them, for all semaphores."""
    sizes = history.semaphores.items()
    return [found for name, (max_, _) in sizes for found in overlaps(history.holds, name, max_)]


def complaints_of_holds(history: History, promises: Promises) -> list[str]:
    """At no moment do believed holds of a semaphore add up to more than its max.

    The exception is a restart without a recovery window: what it lets in stands beside what an
    earlier start had let in. Those of one start alone never do.
    """
    if not promises.may_over_commit:
        return [str(overlap) for overlap in all_overlaps(history)]
    texts = []
    for generation in range(len(history.starts) + 1):
        holds = [hold for hold in history.holds if history.generation(hold.token) == generation]
        for name, (max_, _) in history.semaphores.items():
            texts += [f"of one start: {overlap}" for overlap in overlaps(holds, name, max_)]
    return texts


def complaints_of_late_holds(history: History) -> list[str]:
    """Whoever noticed too late that its lease had ended has a lower token than who came after.

    So a resource that compares tokens is safe from it. That goes for semaphores with one permit.
    """
    return [
        f"`{stale.semaphore}`: peer {early.peer} noticed too late that its lease had ended, and its"
        f" token {early.token} is not below {late.token} of peer {late.peer}"
        for stale in late_notices(history)
        for early, late in [min_and_max(stale.holds)]
        if not early.token < late.token
    ]


def min_and_max(holds: Sequence[Hold]) -> tuple[Hold, Hold]:
    """Tell who came first, and who came last."""
    return min(holds, key=lambda hold: hold.begin), max(holds, key=lambda hold: hold.begin)


def late_notices(history: History) -> list[Overlap]:
    """Find where a program went on in a mutex beside another one, for it noticed its loss late.

    What is believed in beside each other even by the clients' own clocks is left out.
    """
    found = []
    for name, (max_, _) in history.semaphores.items():
        if max_ != 1:
            continue
        holds = sorted(
            (hold for hold in history.holds if name in hold.counts), key=lambda hold: hold.begin
        )
        for position, early in enumerate(holds):
            for late in holds[position + 1 :]:
                if late.begin >= early.noticed:
                    break
                if early.until <= late.begin < late.until:
                    end = min(early.noticed, late.noticed)
                    found.append(Overlap(name, late.begin, end, (early, late)))
    return found


def complaints_of_asks(asks: Iterable[Ask], killed: Iterable[int] = ()) -> list[str]:
    """Every ask of a client that lives ends, and in one of the ways that the client promises."""
    good = {"granted", "timeout", "lost", "unreachable"}
    gone = set(killed)
    texts = []
    for ask in asks:
        if ask.answered == NEVER and ask.worker not in gone:
            texts.append(f"worker {ask.worker} still waits for {dict(ask.counts)}")
        elif ask.outcome and ask.outcome not in good:
            texts.append(f"worker {ask.worker} was told: {ask.outcome}")
    return texts


def complaints_of_tokens(history: History, promises: Promises) -> list[str]:
    """Tokens grow with each grant, across restarts too; and with each hold of a mutex."""
    texts = []
    last = 0
    for stretch in history.stretches:
        if not promises.tokens_grow:
            last = 0
        for token in stretch.tokens():
            if token <= last:
                texts.append(f"token {token} was granted after {last}")
            last = token
    for name, (max_, _) in history.semaphores.items():
        if max_ == 1:
            texts += _complaints_of_mutex(history, name, promises)
    return texts


def _complaints_of_mutex(history: History, name: str, promises: Promises) -> list[str]:
    """Those who were in a mutex one after another, of one start, have greater and greater tokens.

    Who held nothing any more when it came to believe in it is no matter; nor who was granted it by
    nobody knows which start.
    """
    holds = [hold for hold in history.holds if name in hold.counts and hold.begin < hold.until]
    texts = []
    latest: dict[str, Hold] = {}
    instances = {token: one.instance for one in history.stretches for token in one.tokens()}
    for hold in sorted(holds, key=lambda hold: hold.begin):
        generation = instances.get(hold.token)
        if generation is None and promises.tokens_grow:
            generation = str(history.generation(hold.token))
        if generation is None:
            continue
        before = latest.get(generation)
        if before is not None and hold.token <= before.token:
            texts.append(f"`{name}` was held under token {hold.token} after {before.token}")
        latest[generation] = hold
    return texts


def complaints_of_grants(history: History) -> list[str]:
    """Nobody believes in a hold that the server has not granted, to that peer, in that size.

    Of a server that was killed, the last grants may not have reached the listener; nor those from
    before it came.
    """
    texts = []
    granted = {event.token: event for one in history.stretches for event in _grants(one)}
    sizes: dict[tuple[int | None, str], int] = {
        (event.token, event.semaphore): event.count
        for one in history.stretches
        for event in _grants(one)
    }
    for hold in history.holds:
        event = granted.get(hold.token)
        if event is None:
            if any(_must_be_known(stretch, hold.token) for stretch in history.stretches):
                texts.append(f"peer {hold.peer} believes in token {hold.token}: never granted")
            continue
        found = {name: sizes.get((hold.token, name)) for name in hold.counts}
        if event.peer != hold.peer or found != dict(hold.counts):
            texts.append(
                f"peer {hold.peer} believes in {dict(hold.counts)} (token {hold.token}), but"
                f" granted were {found} to peer {event.peer}"
            )
    return texts


def _grants(stretch: Stretch) -> Iterable[Event]:
    return (event for event in stretch.events if event.kind == "granted")


def _must_be_known(stretch: Stretch, token: int) -> bool:
    """Whether a listener would have heard of that grant."""
    tokens = list(stretch.tokens())
    return bool(tokens) and not stretch.has_missed and tokens[0] <= token <= tokens[-1]


def complaints_of_ghosts(history: History) -> list[str]:
    """What was granted and nobody believed in, ends with its lease at the latest.

    Where a fault lasts, the lease is still renewed on behalf of what the client does believe in,
    until its withdrawal gets through; and a server that is stopped expires nothing.
    """
    believed = {hold.token for hold in history.holds}
    longest = max((fault.ended - fault.began for fault in history.faults), default=0.0)
    bound = history.lease + longest + SLACK_SECONDS
    return [
        f"token {event.token} of peer {event.peer}: nobody believed in it, yet `{event.semaphore}`"
        f" was held for {event.after_ms} ms"
        for stretch in history.stretches
        for event in stretch.events
        if event.kind in ("released", "expired")
        and event.token is not None
        and event.token not in believed
        and event.after_ms > bound * 1000
    ]


def ghosts(history: History) -> int:
    """Count the grants that no client came to believe in."""
    believed = {hold.token for hold in history.holds}
    tokens = {token for stretch in history.stretches for token in stretch.tokens()}
    return len(tokens - believed)


def complaints_of_counters(stretch: Stretch) -> list[str]:
    """The counters of `/metrics` say what the events say, as far as the listener was there."""
    if stretch.after is None or stretch.has_missed:
        return []
    told = Counter((event.kind, event.semaphore) for event in stretch.events)
    texts = []
    for (kind, semaphore), counted in sorted(stretch.after.items()):
        if kind not in COUNTERS:
            continue
        missed = 0 if stretch.is_complete else stretch.before.get((kind, semaphore), 0)
        found = told[kind, semaphore]
        if not counted - missed <= found <= counted:
            texts.append(
                f"`{semaphore}`: {counted} were {kind}, say the counters, but {found} the events"
            )
    return texts


def over_commits(history: History) -> int:
    """Count how often a restore brought a semaphore above its max, by the server's events."""
    count = 0
    for stretch in history.stretches:
        acquired: Counter[str] = Counter()
        for event in stretch.events:
            name = event.semaphore
            if event.kind in ("granted", "restored"):
                acquired[name] += event.count
                is_above = acquired[name] > history.semaphores[name][0]
                count += event.kind == "restored" and is_above
            elif event.kind in ("released", "expired"):
                acquired[name] -= event.count
    return count


def longest_pause(history: History) -> float:
    """Find the longest time for which no hold began or ended, in seconds."""
    times = sorted(
        time for hold in history.holds for time in (hold.begin, hold.noticed) if time != NEVER
    )
    return max((late - early for early, late in pairwise(times)), default=0.0)
