"""Whoever reads the events finds out that a queue is not served as promised."""

import itertools

from .history import Event, Stretch
from .order import complaints_of_order

SIZES = {"mutex": (1, 0), "pool": (3, 0), "middle": (2, 1), "high": (2, 2)}

Told = tuple[str, int, str, int]


def told(
    *operations: list[Told], is_first: bool = True, missed: bool = False, is_over: bool = False
) -> list[str]:
    """Judge what a server tells: operations, each with its kind, peer, semaphore and count."""
    tokens = itertools.count(1)
    stretch = Stretch("1", is_first, {("granted", "pool"): 1}, has_missed=missed)
    stretch.after = {} if is_over else None
    for at, operation in enumerate(operations):
        token = next(tokens)
        for kind, peer, semaphore, count in operation:
            stretch.events.append(Event(kind, peer, semaphore, count, token, 0, str(at)))
    return complaints_of_order(stretch, SIZES)


def test_first_come_first_served_is_good() -> None:
    """A release hands the mutex to the first in the queue."""
    assert [] == told(
        [("granted", 1, "mutex", 1)],
        [("pending", 2, "mutex", 1)],
        [("pending", 3, "mutex", 1)],
        [("released", 1, "mutex", 1), ("granted", 2, "mutex", 1)],
        [("cancelled", 3, "mutex", 1)],
    )


def test_overtaking_is_found() -> None:
    """A queue that is served from its end."""
    (text,) = told(
        [("granted", 1, "mutex", 1)],
        [("pending", 2, "mutex", 1)],
        [("pending", 3, "mutex", 1)],
        [("released", 1, "mutex", 1), ("granted", 3, "mutex", 1)],
    )

    assert "peer 3 was granted `mutex` before peer 2, who came first" == text


def test_small_ask_that_slips_past_a_large_one_is_found() -> None:
    """Although there is room for it, it came later."""
    (text,) = told(
        [("granted", 1, "pool", 2)],
        [("pending", 2, "pool", 2)],
        [("granted", 3, "pool", 1)],
    )

    assert "peer 3 was granted `pool` before peer 2, who came first" == text


def test_ask_for_several_may_be_overtaken_where_it_does_not_stand_yet() -> None:
    """It waits for `high`, which comes first, and so keeps no place at `pool`."""
    assert [] == told(
        [("granted", 1, "high", 2)],
        [("pending", 2, "high", 1), ("pending", 2, "pool", 1)],
        [("granted", 3, "pool", 3)],
    )


def test_ask_for_several_may_not_be_overtaken_where_its_walk_begins() -> None:
    """It stands at `high`, or has reserved it; both leave no room for one who comes later."""
    (text,) = told(
        [("granted", 1, "high", 1), ("granted", 1, "mutex", 1)],
        [("pending", 2, "high", 1), ("pending", 2, "mutex", 1)],
        [("granted", 3, "high", 1)],
    )

    assert "peer 3 was granted `high`, where those who came first need 1 of 2" in text


def test_ask_for_several_that_has_reserved_leaves_the_rest_to_others() -> None:
    """Both fit."""
    assert [] == told(
        [("granted", 1, "mutex", 1)],
        [("pending", 2, "high", 1), ("pending", 2, "mutex", 1)],
        [("granted", 3, "high", 1)],
    )


def test_who_is_left_waiting_is_found() -> None:
    """The mutex is free, and the next operation finds it so."""
    (text,) = told(
        [("granted", 1, "mutex", 1)],
        [("pending", 2, "mutex", 1)],
        [("released", 1, "mutex", 1)],
        [("granted", 3, "high", 1)],
    )

    assert "peer 2 is left waiting for 1 of `mutex`, of which 1 are free" == text


def test_who_is_left_waiting_at_the_end_is_found() -> None:
    """Nothing follows; where the listener was cut off, the rest of the operation may be missing."""
    operations: list[list[Told]] = [
        [("granted", 1, "mutex", 1)],
        [("pending", 2, "mutex", 1)],
        [("released", 1, "mutex", 1)],
    ]

    (text,) = told(*operations, is_over=True)

    assert "peer 2 is left waiting for 1 of `mutex`, of which 1 are free" == text
    assert [] == told(*operations)


def test_one_who_came_later_and_wants_several_is_no_excuse() -> None:
    """It stands behind."""
    (text,) = told(
        [("granted", 1, "mutex", 1)],
        [("pending", 2, "mutex", 1)],
        [("pending", 3, "pool", 1), ("pending", 3, "mutex", 1)],
        [("expired", 1, "mutex", 1)],
        [("granted", 4, "high", 1)],
    )

    assert "peer 2 is left waiting for 1 of `mutex`, of which 1 are free" == text


def test_one_who_came_earlier_and_wants_several_may_have_reserved() -> None:
    """What is free is free for it alone."""
    assert [] == told(
        [("granted", 1, "middle", 2)],
        [("granted", 2, "mutex", 1)],
        [("pending", 3, "middle", 1), ("pending", 3, "mutex", 1)],
        [("pending", 4, "middle", 2)],
        [("released", 1, "middle", 2)],
        [("granted", 5, "high", 1)],
    )


def test_nobody_is_left_waiting_within_an_operation() -> None:
    """Everything is freed first, then the queues are served."""
    assert [] == told(
        [("granted", 1, "mutex", 1), ("granted", 1, "pool", 3)],
        [("pending", 2, "mutex", 1)],
        [("pending", 3, "pool", 1)],
        [
            ("expired", 1, "mutex", 1),
            ("expired", 1, "pool", 3),
            ("granted", 2, "mutex", 1),
            ("granted", 3, "pool", 1),
        ],
    )


def test_grant_above_max_is_found() -> None:
    """A restore may raise what is acquired above max, but no grant."""
    (text,) = told(
        [("granted", 1, "pool", 1)],
        [("restored", 2, "pool", 3)],
        [("granted", 3, "pool", 1)],
    )

    assert "a grant to peer 3 raised `pool` to 5 of 3" == text


def test_without_the_beginning_only_overtaking_is_looked_at() -> None:
    """What is acquired and who came before is not known then."""
    assert [] == told([("pending", 2, "mutex", 1)], [("granted", 3, "high", 1)], is_first=False)
    (text,) = told(
        [("pending", 2, "mutex", 1)],
        [("pending", 3, "mutex", 1)],
        [("granted", 3, "mutex", 1)],
        is_first=False,
    )
    assert "peer 3 was granted `mutex` before peer 2, who came first" == text


def test_where_something_is_missed_nothing_is_said() -> None:
    """It would be a guess."""
    assert [] == told([("granted", 1, "mutex", 1)], [("granted", 2, "mutex", 1)], missed=True)
