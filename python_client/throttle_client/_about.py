"""`About`: what the server is told of who asks: a name and labels, for its lists and log lines.

By default they tell of this very process. Nothing is decided by them.
"""

import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

# What the server takes: letters of a name and of a value, and labels of a peer.
LONGEST_TEXT = 128
MOST_LABELS = 16

Labels = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class About:
    """What the caller says of a peer. The rest is filled in by the process that sends it.

    Attributes:
        name: What people call it; without one, it is made of program and host.
        labels: Go before the default ones; `None` leaves a default one out.

    Raises:
        TypeError: It is something else.
    """

    name: str | None = None
    labels: Labels | None = None

    def __post_init__(self) -> None:
        """Keep a copy that nobody changes, if it is of the right types."""
        if self.name is not None and not isinstance(self.name, str):
            raise TypeError(f"name must be a str, not {self.name!r}")
        if self.labels is None:
            return
        if not isinstance(self.labels, Mapping):
            raise TypeError(f"labels must map keys to values, not {self.labels!r}")
        for key, value in self.labels.items():
            if not isinstance(key, str) or not isinstance(value, str | None):
                raise TypeError(f"a label must be a str, or None for none, not {key!r}: {value!r}")
        object.__setattr__(self, "labels", dict(self.labels))

    def spell(self) -> dict[str, object]:
        """Spell the fields of a request, with what this process is by default."""
        name, defaults = _of_process(os.getpid())
        given = self.labels or {}
        labels = {key: value for key, value in given.items() if value is not None}
        # What somebody wanted goes before what nobody asked for.
        room = max(MOST_LABELS - len(labels), 0)
        labels.update([label for label in defaults.items() if label[0] not in given][:room])
        return {"name": self.name or name, "labels": labels}


@lru_cache(maxsize=1)
def _of_process(pid: int) -> tuple[str, dict[str, str]]:
    """Say which program asks, on which machine, as which process: a name and labels.

    A child process has another id, and thus asks anew.
    """
    host, program = _clean(socket.gethostname()), _clean(_program()) or "python"
    labels = {"host": host, "pid": str(pid), "program": program}
    name = "@".join(filter(None, (program, host)))[:LONGEST_TEXT]
    return name, {key: value for key, value in labels.items() if value}


def _program() -> str:
    """Say what was called; nothing if that was Python itself, or if nobody knows."""
    path = str(sys.argv[0]) if sys.argv else ""
    folder, program = os.path.split(path)
    if program == "__main__.py":
        # As `python -m etl` has it.
        program = os.path.basename(folder)
    return "" if program.startswith("-") else program


def _clean(text: str) -> str:
    """Leave out what the server would refuse, such as control characters, and what is too much."""
    return "".join(letter for letter in text if letter.isprintable()).strip()[:LONGEST_TEXT]
