"""Plays scenarios, several side by side, and says what came of each."""

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .checker import all_overlaps, complaints, ghosts, late_notices, longest_pause, over_commits
from .history import History
from .scenarios import SCENARIOS, Scenario
from .world import World

# They mostly wait; with more of them, two cores would be busy.
AT_A_TIME = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a scenario."""

    scenario: Scenario
    history: History
    complaints: list[str]


def play(name: str, directory: Path, *, seed: str, seconds: float) -> Outcome:
    """Play one scenario, and check its history.

    Args:
        name: Which one.
        directory: An empty one.
        seed: Of all that is drawn by lot.
        seconds: For how long to break something, over and over; once at least.

    Raises:
        NotHere: This machine lacks what is needed.
    """
    scenario = SCENARIOS[name]
    with scenario.prepare(directory) as ground:
        world = World(
            directory,
            seed=f"{seed}-{name}",
            seconds=seconds,
            ground=ground,
            is_apart=scenario.is_apart,
        )
        try:
            scenario.play(world)
        except BaseException:
            world.close()
            raise
        history = world.finish()
    return Outcome(scenario, history, complaints(history, scenario.promises))


def play_all(
    names: Iterable[str], directory: Path, *, seed: str, seconds: float
) -> dict[str, Future[Outcome]]:
    """Begin to play scenarios, in the order of the table, a few at a time."""
    players = ThreadPoolExecutor(AT_A_TIME, "scenario")
    wanted = set(names)
    played = {}
    for name in SCENARIOS:
        if name in wanted:
            own = directory / name
            own.mkdir()
            played[name] = players.submit(play, name, own, seed=seed, seconds=seconds)
    players.shutdown(wait=False)
    return played


COLUMNS = (
    "what is broken",
    "how often",
    "asks",
    "holds",
    "lost",
    "not granted",
    "open asks",
    "overlaps",
    "over-commits",
    "noticed late",
    "ghosts",
    "longest pause",
    "stretches heard whole",
    "complaints",
)

LEGEND = (
    "Overlaps are by the clients' own reckoning of their leases; programs that noticed the end of"
    " one late are counted apart."
)


def table(outcomes: Iterable[Outcome]) -> str:
    """Spell the fault matrix in Markdown."""
    rows = [_row(outcome) for outcome in outcomes]
    lines = [COLUMNS, ("---",) + ("---:",) * (len(COLUMNS) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _row(outcome: Outcome) -> tuple[str, ...]:
    history = outcome.history
    told = Counter(ask.outcome for ask in history.asks if ask.worker not in history.killed)
    overlaps = all_overlaps(history)
    heard = sum(stretch.is_complete for stretch in history.stretches)
    longest = max((overlap.seconds for overlap in overlaps), default=0.0)
    return (
        outcome.scenario.title,
        str(len(history.faults)),
        str(len(history.asks)),
        str(len(history.holds)),
        str(sum(hold.is_lost for hold in history.holds)),
        str(told["timeout"] + told["unreachable"] + told["lost"]),
        str(told[""]),
        f"{len(overlaps)} (up to {longest:.2f} s)" if overlaps else "0",
        str(over_commits(history)),
        str(len(late_notices(history))),
        str(ghosts(history)),
        f"{longest_pause(history):.1f} s",
        f"{heard} of {len(history.stretches)}",
        str(len(outcome.complaints)),
    )
