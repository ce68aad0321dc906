"""Durations: what callers may give, how they are spelled for the server, and read from it."""

import math
import time
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from throttle_client._durations import lease_seconds, now, parse_ms, seconds, spell

# Ten years, far beyond any lease.
LONG_MS = 10 * 366 * 24 * 3600 * 1000
TEXT = st.text(alphabet=st.sampled_from("0123456789ms.+-_ e\u0663\u00b2"), max_size=12)


@given(st.timedeltas(min_value=timedelta(0)))
@example(timedelta.max)
def test_timedelta_is_read_as_its_seconds(duration: timedelta) -> None:
    """A `timedelta` means what it says."""
    assert duration.total_seconds() == seconds(duration, "timeout")


@given(st.floats(min_value=0) | st.integers(min_value=0, max_value=10**300))
@example(math.inf)
@example(0)
def test_number_is_read_as_seconds(duration: float) -> None:
    """A number is seconds, also 0 and infinity; an int becomes a float."""
    length = seconds(duration, "timeout")

    assert duration == pytest.approx(length, rel=1e-15)
    assert isinstance(length, float)


@given(
    st.floats(max_value=0, exclude_max=True)
    | st.integers(max_value=-1)
    | st.timedeltas(max_value=timedelta(microseconds=-1))
)
@example(-math.inf)
@example(timedelta.min)
def test_negative_duration_is_refused(duration: timedelta | float) -> None:
    """A time in the past is no duration; the error names the argument and the value."""
    if isinstance(duration, int) and abs(duration) > 10**300:
        duration = -1

    with pytest.raises(ValueError, match="timeout must be 0 or more") as caught:
        seconds(duration, "timeout")

    assert repr(duration) in str(caught.value)


def test_nan_is_refused() -> None:
    """What compares with nothing cannot be waited for."""
    with pytest.raises(ValueError, match="block_for must be 0 or more, not nan"):
        seconds(math.nan, "block_for")


@pytest.mark.parametrize("duration", ["5", "5m", b"5", None, True, False, [5], 5j, Decimal(5)])
def test_what_is_no_duration_is_refused(duration: object) -> None:
    """Only a `timedelta`, an int or a float is a duration; a bool is a mistake."""
    with pytest.raises(TypeError, match="timeout must be a timedelta or a number of seconds"):
        seconds(duration, "timeout")  # type: ignore[arg-type]  # pyright: ignore


@pytest.mark.parametrize("duration", [0, 0.0, -0.0, timedelta(0), math.inf])
def test_lease_without_a_length_or_an_end_is_refused(duration: timedelta | float) -> None:
    """A lease must be longer than zero, and finite."""
    with pytest.raises(ValueError, match="expires_in must be longer than zero and finite"):
        lease_seconds(duration)


@given(st.floats(min_value=0, exclude_min=True, allow_infinity=False))
def test_lease_has_the_length_that_was_given(duration: float) -> None:
    """Any positive finite number of seconds is a lease."""
    assert duration == lease_seconds(duration)


@given(st.floats(min_value=0, max_value=LONG_MS / 1000))
@example(1e-9)
@example(0.0011)
@example(59.9999)
def test_spelling_rounds_up_to_whole_milliseconds(length: float) -> None:
    """What is spelled is never shorter than what was asked for, and by less than two ms longer.

    A float has no exact milliseconds, so the one above may be meant.
    """
    milliseconds = int(spell(length).removesuffix("ms"))

    asked = Fraction(length) * 1000
    tolerance = Fraction(1, 1000)
    assert asked - tolerance <= milliseconds < asked + 1 + tolerance


@given(st.integers(min_value=1, max_value=LONG_MS))
@example(1001)
@example(299_501)
@example(4_350)
def test_whole_milliseconds_are_spelled_as_they_are(milliseconds: int) -> None:
    """Rounding adds nothing where there is nothing to round."""
    length = seconds(timedelta(milliseconds=milliseconds), "expires_in")

    assert f"{milliseconds}ms" == spell(length)


@given(st.integers(min_value=0, max_value=LONG_MS))
def test_what_the_server_says_is_read_and_spelled_alike(milliseconds: int) -> None:
    """Reading a header and spelling it again gives the same."""
    length = parse_ms(f"{milliseconds}ms")

    assert length is not None
    assert milliseconds / 1000 == length
    assert f"{milliseconds}ms" == spell(length)


def test_zero_is_spelled_with_its_unit() -> None:
    """The server wants units; `0ms` has one."""
    assert "0ms" == spell(0.0)


@pytest.mark.parametrize("length", [math.inf, timedelta.max.total_seconds(), 1e300])
def test_endless_duration_is_spelled_in_what_the_server_can_read(length: float) -> None:
    """What is as good as infinite becomes a long time whose nanoseconds no server overflows."""
    milliseconds = int(spell(length).removesuffix("ms"))

    century_ms = 100 * 365 * 24 * 3600 * 1000
    assert century_ms < milliseconds < 2**64


@given(TEXT)
@example("299500ms")
@example("")
@example("ms")
@example("-5ms")
@example("1.5ms")
@example(" 5ms")
@example("5s")
def test_only_whole_milliseconds_are_read(text: str) -> None:
    """Anything but digits and `ms` is not understood, which is not an error."""
    digits = text.removesuffix("ms")
    is_good = text.endswith("ms") and digits.isdecimal()

    assert (int(digits) / 1000 if is_good else None) == parse_ms(text)


def test_missing_header_is_not_understood() -> None:
    """Where a server says nothing, nothing is known."""
    assert parse_ms(None) is None


@pytest.mark.parametrize("digits", [400, 5000], ids=["more than a float", "more than an int"])
def test_absurdly_long_header_does_no_harm(digits: int) -> None:
    """What no number holds is not understood, or endless; it never raises."""
    length = parse_ms("9" * digits + "ms")

    assert length is None or length > 1e300


def test_clock_never_goes_back() -> None:
    """It is monotonic, in seconds, and runs at the pace of the system's own."""
    began_at, system_began_at = now(), time.monotonic()
    readings = [now() for _ in range(1000)]
    time.sleep(0.05)

    assert sorted(readings) == readings
    assert time.monotonic() - system_began_at == pytest.approx(now() - began_at, abs=0.04)
