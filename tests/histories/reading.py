"""Reads what workers wrote: one JSON object a line, see `workers.py`, into asks and holds."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from .history import Ask, History, Hold


def read_worker(history: History, path: Path) -> None:
    """Add what one worker has written so far to a history."""
    worker = int(path.stem)
    asks: dict[int, Ask] = {}
    begun: dict[int, dict[str, Any]] = {}
    lost_at: dict[int, float] = {}
    for record in _records(path):
        number, time = record["ask"], record["time"]
        match record["what"]:
            case "ask":
                asks[number] = Ask(worker, record["counts"], record["timeout"], time)
            case "granted":
                asks[number] = replace(asks[number], answered=time, outcome="granted")
                begun[number] = record
            case "told":
                asks[number] = replace(asks[number], answered=time, outcome=record["outcome"])
            case "lost":
                lost_at[number] = min(time, record["until"])
            case "end":
                until = min(record["until"], lost_at.get(number, time))
                hold = _hold(asks[number], begun.pop(number), noticed=time, until=until)
                history.holds.append(replace(hold, is_lost=record["is_lost"]))
    for number, record in begun.items():
        # It was killed inside, or is inside. Whether it has renewed its lease is not known: it is
        # taken to believe no longer than it certainly can.
        end = history.killed.get(worker, record["until"])
        until = min(end, record["until"])
        history.holds.append(_hold(asks[number], record, noticed=end, until=until))
    history.asks.extend(asks.values())


def _hold(ask: Ask, begun: dict[str, Any], *, noticed: float, until: float) -> Hold:
    return Hold(
        worker=ask.worker,
        peer=begun["peer"],
        counts=ask.counts,
        token=begun["token"],
        begin=begun["time"],
        noticed=noticed,
        until=until,
    )


def _records(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text("utf-8").splitlines(keepends=True):
        if not line.endswith("\n"):
            # It was killed in the midst of it, or goes on writing.
            return
        record: dict[str, Any] = json.loads(line)
        yield record
