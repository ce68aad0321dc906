"""Ctrl+C at a line of the package that a test chooses, instead of one that chance chooses."""

import linecache
import sys
from pathlib import Path
from types import FrameType
from typing import Any, Self

import throttle_client

PACKAGE = str(Path(throttle_client.__file__).parent)


class Interruption:
    """Raises `KeyboardInterrupt` once, before one line of the package that this thread runs.

    Lines that begin with `with` or `try` do not count, for tracing can come where signals cannot: a
    `with` runs again between the end of its block and what it does then, and a `try` does nothing.

    Attributes:
        where: The line, or nothing as long as it was not reached.
    """

    def __init__(self, number: int) -> None:
        """Choose the line, by its number in the order in which they run, from 1."""
        self.where = ""
        self._left = number

    def __enter__(self) -> Self:
        """Count from now on, in calls that begin now."""
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *error: object) -> None:
        """Count no more."""
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE) or not self._left:
            return None
        line = linecache.getline(code.co_filename, frame.f_lineno).lstrip()
        if event == "line" and not line.startswith(("with ", "async with ", "try:")):
            self._left -= 1
            if not self._left:
                self.where = f"{Path(code.co_filename).name}:{frame.f_lineno} {line.strip()}"
                raise KeyboardInterrupt
        return self._trace
