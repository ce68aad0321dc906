"""Plays all scenarios that were selected, side by side, while the tests wait for their own."""

import os
import secrets
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "target" / "debug" / "throttle"
if BUILT.exists():
    os.environ.setdefault("THROTTLE_BIN", str(BUILT))
# The proxy, and what else tests of the client have made already.
sys.path.insert(0, str(ROOT / "python_client" / "tests"))

from .outcomes import LEGEND, Outcome, play_all, table  # noqa: E402 - they need what stands above

# The same draws again; not the same history, for the machine is another each time.
SEED = os.environ.get("HISTORIES_SEED") or secrets.token_hex(4)
# For how long each scenario goes on breaking things.
SECONDS = float(os.environ.get("HISTORIES_SECONDS", "3"))

Played = dict[str, Future[Outcome]]
PLAYED = pytest.StashKey[Played]()


@pytest.fixture(scope="session", autouse=True)
def played(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Played]:
    """Begin to play the scenarios of the tests that were selected."""
    names = [
        str(item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and "name" in item.fixturenames
    ]
    directory = tmp_path_factory.mktemp("histories")
    played = play_all(names, directory, seed=SEED, seconds=SECONDS)
    request.config.stash[PLAYED] = played
    yield played
    for outcome in played.values():
        outcome.cancel()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the fault matrix."""
    played = config.stash.get(PLAYED, {})
    done = [one for one in played.values() if one.done() and not one.cancelled()]
    outcomes = [one.result() for one in done if one.exception() is None]
    if outcomes:
        terminalreporter.section(f"HISTORIES_SEED={SEED} HISTORIES_SECONDS={SECONDS:g}")
        terminalreporter.write_line(table(outcomes))
        terminalreporter.write_line(LEGEND)
