"""`lock`: its arguments, and what they mean. What then happens stands in `_block.py`."""

import inspect
import operator
from collections.abc import Mapping
from typing import Any, overload

from throttle_client._about import About, Labels
from throttle_client._block import Lock, OnLost, Terms
from throttle_client._client import Client, client_for
from throttle_client._durations import Duration, lease_seconds, seconds
from throttle_client._peer import DEFAULT_LEASE, Peer


class _AThird:
    """The default of `heartbeat_interval`."""

    def __repr__(self) -> str:
        return "a third of the lease"


A_THIRD: Any = _AThird()


@overload
def lock(
    server_url: str,
    semaphore: str | Mapping[str, int],
    count: int = 1,
    timeout: Duration | None = None,
    *,
    heartbeat_interval: Duration | None = A_THIRD,
    expires_in: Duration = DEFAULT_LEASE,
    on_lost: OnLost | None = None,
    raise_if_lost: bool = True,
    name: str | None = None,
    labels: Labels | None = None,
) -> "Lock": ...


@overload
def lock(
    peer: Peer | Client,
    semaphore: str | Mapping[str, int],
    count: int = 1,
    heartbeat_interval: Duration | None = A_THIRD,
    timeout: Duration | None = None,
    *,
    expires_in: Duration = DEFAULT_LEASE,
    on_lost: OnLost | None = None,
    raise_if_lost: bool = True,
    name: str | None = None,
    labels: Labels | None = None,
) -> "Lock": ...


def lock(*args: Any, **options: Any) -> "Lock":  # noqa: D417 - they are those of the overloads
    """Hold a lock in a `with` or `async with` block, or around each call of a function.

    Nothing is sent before the block is entered. Then the caller waits for its turn; the lease is
    renewed in the background; at the end of the block the lock is given back, which takes about two
    seconds at most where the server does not answer. Locks that nest in one thread (or asyncio
    task) belong to one peer, so that the server can check that they go from high levels to lower
    ones.

    Args:
        server_url: Where the server is, such as `http://localhost:8000`. Instead, a `Client`, or a
            `Peer` whose lock it is to be.
        semaphore: Of which semaphore; or several with their counts, such as `{"db": 2, "api": 1}`,
            which are acquired all together or not at all.
        count: How many permits, if one semaphore is named.
        timeout: How long to wait, a `timedelta` or seconds; 0 to try without waiting, `None` to
            wait for ever. The fourth positional argument after a URL.
        heartbeat_interval: The time between two heartbeats, if it is to be shorter than a third of
            the lease; `None` for no heartbeats. The fourth positional argument after a `Peer` or
            `Client`.
        expires_in: The length of the lease: after that time without a heartbeat, the lock goes to
            the next one. Five minutes by default. A `Peer` has its own, and so has an outer lock.
        on_lost: Called once with the lease when it is lost, in a thread of its own; with
            `async with`, in the event loop.
        raise_if_lost: Whether leaving the block raises `LockLost` if the lease was lost. It never
            replaces another exception.
        name: What the server calls the peer in its lists and logs; by default `program@host`.
        labels: What the server shows beside the name, such as `{"job": "nightly"}`; they are added
            to `host`, `pid` and `program` of this process. One of the same key goes before, `None`
            leaves that one out. A `Peer` has its own name and labels, and so has an outer lock.

    Returns:
        A context manager whose value is a `Lease`. It may be entered again and again, also by
        several threads or tasks at the same time, each of which holds a lock of its own then.

    Raises:
        InvalidUrl: That is no URL of a server.
        TypeError: An argument is of the wrong type.
        ValueError: A duration is negative, or nothing is asked for.

    Entering the block raises:
        Timeout: The lock was not acquired in time; nothing stays behind in the queue.
        UnknownSemaphore: No semaphore of that name is configured.
        Refused: The server refused it, for instance since the level is not below that of an outer
            lock.
        ValueError: This thread or task holds a lock of that semaphore already.
        LockLost: An outer lock was lost.
        Unreachable: The server did not answer at all within the timeout.
    """
    return _bind(args, options)


def _bind(args: tuple[Any, ...], options: dict[str, Any]) -> Lock:
    """Sort positional arguments, whose order depends on the first one."""
    server = args[0] if args else options.pop("server_url", None) or options.pop("peer", None)
    names = ["semaphore", "count", "heartbeat_interval", "timeout"]
    if isinstance(server, str):
        names.remove("heartbeat_interval")
    given = dict(zip(names, args[1:], strict=False))
    if len(args) > len(names) + 1:
        order = ", ".join(["server", *names])
        raise TypeError(f"lock() takes {order} by position, but {len(args)} were given")
    if twice := given.keys() & options.keys():
        raise TypeError(f"lock() got {', '.join(sorted(twice))} twice")
    if server is None:
        raise TypeError("lock() needs the URL of a server, a Client or a Peer")
    return _prepare(server, **given, **options)


def _prepare(
    server: str | Peer | Client,
    semaphore: str | Mapping[str, int],
    count: int = 1,
    *,
    timeout: Duration | None = None,
    heartbeat_interval: Duration | None = A_THIRD,
    expires_in: Duration = DEFAULT_LEASE,
    on_lost: OnLost | None = None,
    raise_if_lost: bool = True,
    name: str | None = None,
    labels: Labels | None = None,
) -> Lock:
    if isinstance(server, str):
        server = client_for(server)
    if not isinstance(server, Peer | Client):
        raise TypeError(f"the first argument must be a URL, a Client or a Peer, not {server!r}")
    if on_lost is not None and (not callable(on_lost) or inspect.iscoroutinefunction(on_lost)):
        raise TypeError(f"on_lost must be a plain function, which is not awaited: {on_lost!r}")
    interval = None
    if heartbeat_interval is not None and heartbeat_interval is not A_THIRD:
        interval = lease_seconds(heartbeat_interval, "heartbeat_interval")
    terms = Terms(
        timeout=None if timeout is None else seconds(timeout, "timeout"),
        heartbeat_interval=interval,
        beats=heartbeat_interval is not None,
        length=lease_seconds(expires_in),
        on_lost=on_lost,
        raise_if_lost=raise_if_lost,
        about=About(name, labels),
    )
    return Lock(server, _counts(semaphore, count), terms)


def _counts(semaphore: str | Mapping[str, int], count: int) -> dict[str, int]:
    """Read what is asked for."""
    if isinstance(semaphore, str):
        counts = {semaphore: count}
    elif not isinstance(semaphore, Mapping):
        raise TypeError(f"semaphore must be a name, or map names to counts, not {semaphore!r}")
    elif count != 1:
        raise ValueError("count goes with one semaphore; several have their counts in the mapping")
    else:
        counts = dict(semaphore)
    if not counts:
        raise ValueError("at least one semaphore must be named")
    for key, value in counts.items():
        if not isinstance(key, str) or isinstance(value, bool) or not hasattr(value, "__index__"):
            raise TypeError(f"a count of a semaphore must be an integer, not {key!r}: {value!r}")
    # Integers of numpy are integers, too, until they are to become JSON.
    return {key: operator.index(value) for key, value in counts.items()}


# What Python says of wrong arguments names the function that was called, and `help` shows what it
# takes.
_prepare.__qualname__ = "lock"
lock.__signature__ = inspect.signature(_prepare)  # type: ignore[attr-defined]
