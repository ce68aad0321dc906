"""Durations as callers give them and as the server reads them, and the clock that leases run on."""

import math
import sys
import time
from datetime import timedelta
from numbers import Real

Duration = timedelta | float
"""A `timedelta`, or seconds as an `int` or `float`. Never negative, never NaN."""


def seconds(duration: Duration, what: str) -> float:
    """Read a duration.

    Args:
        duration: What the caller gave.
        what: The name of the argument, for the error.

    Returns:
        Seconds, at least 0, possibly infinite.

    Raises:
        TypeError: It is neither a `timedelta` nor a number.
        ValueError: It is negative, or not a number.
    """
    if isinstance(duration, timedelta):
        length = duration.total_seconds()
    elif isinstance(duration, Real) and not isinstance(duration, bool):
        length = float(duration)
    else:
        raise TypeError(f"{what} must be a timedelta or a number of seconds, not {duration!r}")
    if not length >= 0:
        raise ValueError(f"{what} must be 0 or more, not {duration!r}")
    return length


def lease_seconds(duration: Duration, what: str = "expires_in") -> float:
    """Read the length of a lease, which must be finite and longer than zero.

    Raises:
        TypeError: It is neither a `timedelta` nor a number.
        ValueError: It is not longer than zero, or infinite.
    """
    length = seconds(duration, what)
    if length == 0 or math.isinf(length):
        raise ValueError(f"{what} must be longer than zero and finite, not {duration!r}")
    return length


def spell(length_seconds: float) -> str:
    """Spell a duration for the server, in whole milliseconds, rounded up.

    What is as good as infinite is a million years.
    """
    # Rounded first, for 0.001 is not quite that as a float.
    return f"{math.ceil(round(min(length_seconds, 3.2e13) * 1000, 3))}ms"


def parse_ms(text: str | None) -> float | None:
    """Read the `299500ms` of a header as seconds; `None` for anything else."""
    if text is None or len(text) > 22 or not text.endswith("ms") or not text[:-2].isdecimal():
        return None
    return int(text[:-2]) / 1000


if sys.platform == "linux":

    def now() -> float:
        """Read the clock that leases run on, in seconds.

        It goes on while the machine sleeps, as the server's does, and is never set back.
        """
        return time.clock_gettime(time.CLOCK_BOOTTIME)

elif sys.platform == "darwin":

    def now() -> float:
        """Read the clock that leases run on, in seconds; there, this one goes on in sleep."""
        return time.clock_gettime(time.CLOCK_MONOTONIC)

else:
    now = time.monotonic
