"""The checker complains of each kind of bad history, and not of good ones."""

from dataclasses import replace

import pytest

from .checker import Promises, complaints, late_notices, longest_pause, over_commits, overlaps
from .history import NEVER, Ask, Event, Fault, History, Hold, Stretch

SIZES = {"mutex": (1, 0), "pool": (3, 0), "high": (2, 2)}
LEASE = 1.5
FIRST, SECOND = 1_000, 2_000
PROMISES = Promises()


def hold(
    begin: float,
    end: float,
    token: int,
    semaphore: str = "mutex",
    count: int = 1,
    *,
    until: float | None = None,
) -> Hold:
    """Make up a hold; its peer is called as its token is."""
    believed = end if until is None else until
    return Hold(7, token, {semaphore: count}, token, begin, noticed=end, until=believed)


def event(
    kind: str, token: int | None, semaphore: str = "mutex", count: int = 1, after_ms: int = 0
) -> Event:
    """Make up what the server tells of the peer that is called as its token is."""
    return Event(kind, token or 0, semaphore, count, token, after_ms, f"{kind} {token}")


def story(*holds: Hold) -> list[Event]:
    """Make up what the server tells of holds that come one after another."""
    return [
        event(kind, one.token, name, count)
        for one in holds
        for kind in ("granted", "released")
        for name, count in one.counts.items()
    ]


def history(*holds: Hold, events: list[Event] | None = None, **more: object) -> History:
    """Make up a history of one start of the server, which was listened to from the beginning."""
    stretch = Stretch("1", is_first=True, before={})
    stretch.events = story(*holds) if events is None else events
    made = History(SIZES, LEASE, holds=list(holds), stretches=[stretch])
    for name, value in more.items():
        setattr(made, name, value)
    return made


def only_complaint(made: History, promises: Promises = PROMISES) -> str:
    """Return what is complained of, which is one thing."""
    (text,) = complaints(made, promises)
    return text


def test_good_history_is_good() -> None:
    """Holds of a mutex one after another, and as many of a pool as there are, are as promised."""
    holds = [
        hold(0.0, 1.0, 1),
        hold(1.0, 2.0, 2),
        hold(2.0, 4.0, 3, "pool", 2),
        hold(2.5, 3.0, 4, "pool"),
    ]
    events = [event(*one) for one in (("granted", 1), ("released", 1), ("granted", 2))]
    events += [event("released", 2), event("granted", 3, "pool", 2), event("granted", 4, "pool")]
    asks = [Ask(7, {"mutex": 1}, None, 0.0, 0.0, "granted"), Ask(7, {"mutex": 1}, 1.0, 0.0, 1.0)]
    asks[1] = replace(asks[1], outcome="timeout")

    assert [] == complaints(history(*holds, events=events, asks=asks), PROMISES)


def test_two_in_a_mutex_are_found() -> None:
    """Two clients believe in the only permit at the same time."""
    made = history(hold(0.0, 2.0, 1), hold(1.5, 3.0, 2))

    assert "`mutex` was over-committed for 0.500 s: peer 1 with 1 (token 1), peer 2 with 1" in (
        only_complaint(made)
    )


def test_too_many_permits_are_found() -> None:
    """Counts are added up."""
    made = history(hold(0.0, 3.0, 1, "pool", 2), hold(1.0, 3.0, 2, "pool", 2))

    # The events tell it one after the other, for here it is the clients that are wrong.
    assert "`pool` was over-committed for 2.000 s" in only_complaint(made)


def test_overlaps_are_told_apart() -> None:
    """Each time at which there are too many is an overlap of its own."""
    holds = [hold(0.0, 10.0, 1), hold(1.0, 2.0, 2), hold(3.0, 5.0, 3), hold(4.0, 6.0, 4)]

    found = overlaps(holds, "mutex", 1)

    assert [(1.0, 2.0), (3.0, 6.0)] == [(one.began, one.ended) for one in found]
    assert [{1, 2}, {1, 3, 4}] == [{hold.token for hold in one.holds} for one in found]


def test_holds_that_touch_do_not_overlap() -> None:
    """One begins in the moment in which the other has ended."""
    assert [] == overlaps([hold(0.0, 1.0, 1), hold(1.0, 2.0, 2)], "mutex", 1)


def test_lease_that_has_ended_is_not_believed_in() -> None:
    """A client that was stopped notices late, which is counted, and is no overlap."""
    made = history(hold(0.0, 4.0, 1, until=1.5), hold(2.0, 3.0, 2))

    assert [] == complaints(made, PROMISES)
    assert 1 == len(late_notices(made))


def test_stale_holder_with_a_greater_token_is_found() -> None:
    """A resource could not tell who is late."""
    made = history(
        hold(0.0, 4.0, 5, until=1.5), hold(2.0, 3.0, 4), events=story(hold(0, 1, 4), hold(1, 2, 5))
    )

    texts = complaints(made, PROMISES)

    assert any("noticed too late that its lease had ended, and its token 5" in one for one in texts)


def test_restart_without_a_recovery_window_may_over_commit() -> None:
    """Those of an earlier start stand beside those of a later one."""
    made = history(hold(0.0, 2.0, FIRST), hold(1.5, 3.0, SECOND), starts=[SECOND])

    assert [] == complaints(made, Promises(may_over_commit=True))
    assert "over-committed" in only_complaint(made)


def test_one_start_alone_may_not_over_commit() -> None:
    """What a start grants fits beside what it has granted."""
    made = history(hold(0.0, 2.0, SECOND), hold(1.5, 3.0, SECOND + 1), starts=[SECOND])

    assert "of one start: `mutex`" in only_complaint(made, Promises(may_over_commit=True))


def test_ask_that_never_ends_is_found() -> None:
    """A client that lives waits for ever."""
    ask = Ask(7, {"mutex": 1}, None, 0.0)

    assert "worker 7 still waits for {'mutex': 1}" == only_complaint(history(asks=[ask]))
    assert [] == complaints(history(asks=[ask], killed={7: 1.0}), PROMISES)


def test_outcome_that_is_not_promised_is_found() -> None:
    """A client was told what it should not be told."""
    ask = Ask(7, {"mutex": 1}, None, 0.0, 1.0, "Refused('…')")

    assert "worker 7 was told: Refused('…')" == only_complaint(history(asks=[ask]))


def test_tokens_that_do_not_grow_are_found() -> None:
    """Within a start of the server."""
    events = [*story(hold(0, 1, 2, "pool")), *story(hold(1, 2, 1, "pool"))]

    assert "token 1 was granted after 2" == only_complaint(history(events=events))


def test_tokens_must_grow_across_restarts_unless_the_clock_was_set_back() -> None:
    """A later start begins above all tokens of an earlier one."""
    made = history(events=story(hold(0, 1, 2)))
    made.stretches.append(Stretch("2", False, {}, events=story(hold(1, 2, 1))))

    assert "token 1 was granted after 2" == only_complaint(made)
    assert [] == complaints(made, Promises(tokens_grow=False))


def test_holds_of_a_mutex_in_the_wrong_order_are_found() -> None:
    """Whoever came later has the lower token."""
    early, late = hold(0.0, 1.0, 2), hold(1.0, 2.0, 1)

    text = only_complaint(history(early, late, events=story(late, early)))

    assert "`mutex` was held under token 1 after 2" == text


def test_hold_that_was_never_granted_is_found() -> None:
    """A client believes in a token of which the server has not told."""
    holds = [hold(0, 1, 1), hold(1, 2, 2), hold(2, 3, 3)]

    text = only_complaint(history(*holds, events=story(holds[0], holds[2])))

    assert "peer 2 believes in token 2: never granted" == text


def test_hold_that_the_server_had_no_time_to_tell_of_is_no_matter() -> None:
    """It was killed a moment after the grant, or the listener came a moment later."""
    holds = [hold(0, 1, 1), hold(1, 2, 2), hold(2, 3, 3)]

    assert [] == complaints(history(*holds, events=story(holds[1])), PROMISES)


@pytest.mark.parametrize("count", [2, 3])
def test_hold_of_another_size_is_found(count: int) -> None:
    """A client believes in more, or less, than it was granted."""
    made = history(hold(0, 1, 1, "pool", count), events=story(hold(0, 1, 1, "pool")))

    assert f"peer 1 believes in {{'pool': {count}}} (token 1), but granted were" in (
        only_complaint(made)
    )


def test_ghost_that_outlives_its_lease_is_found() -> None:
    """A grant that nobody believes in is renewed and renewed."""
    events = [event("granted", 1), event("expired", 1, after_ms=60_000)]

    assert "token 1 of peer 1: nobody believed in it" in only_complaint(history(events=events))
    faults = [Fault("hangs", 0.0, 58.0)]
    assert [] == complaints(history(events=events, faults=faults), PROMISES)


def test_counters_that_say_something_else_are_found() -> None:
    """The events are fewer than the counters."""
    made = history(events=story(hold(0, 1, 1)))
    made.stretches[0].after = {("granted", "mutex"): 2, ("released", "mutex"): 1}

    assert "`mutex`: 2 were granted, say the counters, but 1 the events" == only_complaint(made)


def test_counters_from_before_the_listener_came_are_allowed_for() -> None:
    """It may have heard of some of them."""
    made = history(events=story(hold(0, 1, 1)))
    before = {("granted", "mutex"): 2}
    made.stretches[0] = replace(made.stretches[0], is_first=False, before=before)

    for counted in (1, 2, 3):
        made.stretches[0].after = {("granted", "mutex"): counted, ("released", "mutex"): 1}
        assert [] == complaints(made, PROMISES)
    made.stretches[0].after = {("granted", "mutex"): 4}
    assert "4 were granted" in complaints(made, PROMISES)[0]


def test_what_is_left_over_is_complained_of() -> None:
    """Something is held when everybody has gone."""
    made = history(left_over=["`mutex`: 1 acquired"])

    assert "`mutex`: 1 acquired" == only_complaint(made)


def test_restores_above_max_are_counted() -> None:
    """Those that fit are not."""
    events = [event("granted", 5), event("restored", 1), event("released", 5)]

    assert 1 == over_commits(history(events=events))
    assert 0 == over_commits(history(events=[event("restored", 1), event("released", 1)]))


def test_longest_pause_is_found() -> None:
    """Between the end of one hold and the beginning of the next, or within one."""
    assert 3.0 == longest_pause(history(hold(0.0, 1.0, 1), hold(4.0, 6.0, 2)))
    assert 0.0 == longest_pause(history())
    assert 1.0 == longest_pause(history(hold(0.0, 1.0, 1), hold(1.5, NEVER, 2)))
