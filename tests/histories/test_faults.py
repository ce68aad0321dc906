"""The faults break what they are said to break, and nothing else."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from helpers import in_background
from throttle_client import Client

from .conftest import SEED
from .faults import OTHER_FILES, NotHere, WallClock, connections_of, get, no_more_files, read_pid
from .observer import get as fetch
from .scenarios import FEW_CONNECTIONS
from .world import Ground, World

HOUR = 3600
SHORT_SECONDS = 0.5


@pytest.fixture
def world(tmp_path: Path) -> Callable[[str], World]:
    """Make worlds without clients."""

    def make(launcher: str) -> World:
        return World(tmp_path, seed=SEED, seconds=0, ground=Ground(launcher=launcher))

    return make


def test_step_of_the_wall_clock_moves_no_other_clock(
    tmp_path: Path, world: Callable[[str], World]
) -> None:
    """The server shows another time, and a lease is as long as before."""
    try:
        clock = WallClock(tmp_path)
    except NotHere as missing:
        pytest.skip(str(missing))
    made = world(clock.launcher)
    try:
        client = Client(made.server.url)
        peer = client.new_peer(60)
        client.acquire(peer, "mutex")

        for hours in (1, -1):
            clock.step_to(hours * HOUR)
            # It would be gone, had its lease ended.
            since = json.loads(fetch(made.server.url, f"/peers/{peer}"))["since"]["mutex"]
            ahead = (datetime.fromisoformat(since) - datetime.now(UTC)).total_seconds()

            assert abs(ahead - hours * HOUR) < HOUR / 2
    finally:
        made.close()


def test_who_comes_while_there_are_no_descriptors_waits(
    tmp_path: Path, world: Callable[[str], World]
) -> None:
    """A connection is accepted once that is over."""
    made = world(f'echo $$ > "{tmp_path}/pid"')
    try:
        with no_more_files(read_pid(tmp_path / "pid")):
            answer = in_background(lambda: fetch(made.server.url, "/health"))
            with pytest.raises(TimeoutError):
                answer.result(SHORT_SECONDS)

        assert "Ok" == answer.result(10)
    finally:
        made.close()


def test_who_comes_while_all_connections_are_taken_waits(world: Callable[[str], World]) -> None:
    """A connection is accepted once one has gone."""
    made = world(f"ulimit -n {OTHER_FILES + FEW_CONNECTIONS}")
    try:
        with connections_of(made.server.url, 2 * FEW_CONNECTIONS, request=get("/health")):
            answer = in_background(lambda: fetch(made.server.url, "/health"))
            with pytest.raises(TimeoutError):
                answer.result(SHORT_SECONDS)

        assert "Ok" == answer.result(10)
    finally:
        made.close()
