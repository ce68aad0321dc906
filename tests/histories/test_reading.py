"""What workers wrote is read as asks and holds, however it breaks off."""

import json
from pathlib import Path

import pytest

from .history import NEVER, Ask, History, Hold
from .reading import read_worker

WORKER = 7
ASKED: dict[str, object] = {"what": "ask", "time": 1.0, "counts": {"A": 2}, "timeout": None}
GRANTED: dict[str, object] = {"what": "granted", "time": 2.0, "peer": 5, "token": 9, "until": 3.5}
LOST: dict[str, object] = {"what": "lost", "time": 3.6, "until": 3.5}


def end(time: float, until: float, *, is_lost: bool = False) -> dict[str, object]:
    """Make up the end of a hold."""
    return {"what": "end", "time": time, "until": until, "is_lost": is_lost}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Name the file of a worker."""
    return tmp_path / f"{WORKER}.jsonl"


def read(
    written: Path, *records: dict[str, object], torn: str = "", killed: float | None = None
) -> History:
    """Write records down, and read them."""
    lines = (json.dumps({"ask": 0, **record}) + "\n" for record in records)
    written.write_text("".join(lines) + torn)
    history = History({}, 1.5, killed={} if killed is None else {WORKER: killed})
    read_worker(history, written)
    return history


def test_hold_is_read(written: Path) -> None:
    """From the moment at which the client said so to that at which it was to be given back."""
    history = read(written, ASKED, GRANTED, end(2.5, 2.5))

    assert [Ask(WORKER, {"A": 2}, None, 1.0, 2.0, "granted")] == history.asks
    assert [Hold(WORKER, 5, {"A": 2}, 9, 2.0, noticed=2.5, until=2.5)] == history.holds


def test_hold_that_was_lost_ends_with_its_lease(written: Path) -> None:
    """Whenever the program noticed."""
    (one,) = read(written, ASKED, GRANTED, LOST, end(9.0, 9.0, is_lost=True)).holds
    (other,) = read(written, ASKED, GRANTED, end(9.0, 3.5, is_lost=True)).holds

    assert (9.0, 3.5, True) == (one.noticed, one.until, one.is_lost)
    assert one == other


def test_ask_that_comes_to_nothing_is_read(written: Path) -> None:
    """There is no hold then."""
    told: dict[str, object] = {"what": "told", "time": 4.0, "outcome": "timeout"}
    history = read(written, ASKED, told)

    assert [Ask(WORKER, {"A": 2}, None, 1.0, 4.0, "timeout")] == history.asks
    assert [] == history.holds


def test_killed_worker_believes_until_then(written: Path) -> None:
    """At most until the end of the lease that it was granted, for renewals are not written down."""
    early = read(written, ASKED, GRANTED, killed=2.2).holds
    late = read(written, ASKED, GRANTED, killed=8.0).holds

    assert [2.2, 3.5] == [hold.until for hold in (*early, *late)]


def test_last_line_may_be_torn_off(written: Path) -> None:
    """The ask stays open."""
    history = read(written, ASKED, torn='{"what": "gran', killed=2.0)

    assert [NEVER] == [ask.answered for ask in history.asks]
    assert [] == history.holds
