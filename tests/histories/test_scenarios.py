"""Under each fault, the history of clients and server is as promised."""

from concurrent.futures import Future
from itertools import pairwise
from pathlib import Path

import pytest

from .checker import Promises, complaints_of_holds
from .conftest import SEED
from .faults import NotHere
from .outcomes import Outcome
from .scenarios import SCENARIOS
from .world import LEASE, Ground, World

MOST_SHOWN = 20
# How often to try what depends on who gets the processor when.
MOST_TRIES = 20


@pytest.mark.parametrize("name", SCENARIOS)
def test_history_is_as_promised(name: str, played: dict[str, Future[Outcome]]) -> None:
    """Nobody has anything to complain about."""
    try:
        outcome = played[name].result()
    except NotHere as missing:
        pytest.skip(str(missing))

    found = outcome.complaints
    shown = "\n".join(found[:MOST_SHOWN])
    assert not found, f"{len(found)} complaints, HISTORIES_SEED={SEED}:\n{shown}"
    assert outcome.history.holds
    # What was not heard, nobody could complain of. No fault cuts the listener off but the end of
    # the server, after which the next stretch is of another start.
    stretches = outcome.history.stretches
    assert stretches[0].is_complete
    missed = [stretch.instance for stretch in stretches if stretch.has_missed]
    assert not missed, f"the listener missed something of the starts {missed}"


@pytest.mark.parametrize("name", ["set_back"])
def test_tokens_begin_lower_where_the_clock_was_set_back(
    name: str, played: dict[str, Future[Outcome]]
) -> None:
    """So the reference says; what is restored then has no token, and outranks nobody."""
    try:
        history = played[name].result().history
    except NotHere as missing:
        pytest.skip(str(missing))

    for before, after in pairwise(history.stretches):
        assert max(after.tokens()) < min(before.tokens())
        restored = [event for event in after.events if event.kind == "restored"]
        assert [None] * len(restored) == [event.token for event in restored]
    assert len(history.stretches) > 1


def test_client_that_ignores_the_loss_of_its_lease_is_found(tmp_path: Path) -> None:
    """A client that is stopped inside, and then goes on regardless, is in nobody's favour."""
    world = World(tmp_path, seed=SEED, seconds=0, ground=Ground())
    try:
        world.start_workers(threads=1)
        world.start_worker(ignores_loss=True)
        stubborn = world.workers[-1]
        for _ in range(MOST_TRIES):
            world.wait_until_inside(stubborn)
            world.stop_worker(stubborn, 1.5 * LEASE)
            world.go_on(0.3, 0.3)
            found = complaints_of_holds(world.peek(), Promises())
            if found:
                break
    finally:
        world.close()

    assert found
    assert "was over-committed for" in found[0]
