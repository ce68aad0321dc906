"""`lock`: a context manager and decorator that holds a lock, for threads and for asyncio."""

import functools
import inspect
import logging
import operator
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, ParamSpec, TypeVar, cast, overload

from throttle_client._asking import take
from throttle_client._client import Client, client_for
from throttle_client._durations import Duration, lease_seconds, seconds
from throttle_client._errors import LockLost
from throttle_client._giving_back import give_back
from throttle_client._heartbeat import begin_watch, end_watch
from throttle_client._lease import Lease
from throttle_client._local import (
    Owner,
    current,
    find_local_peer,
    forget_local_peer,
    is_running,
    set_local_peer,
)
from throttle_client._peer import DEFAULT_LEASE, Peer
from throttle_client._tasks import in_loop, turn
from throttle_client._timer import spawn
from throttle_client._wire import Wire, run

logger = logging.getLogger("throttle_client")

P = ParamSpec("P")
T = TypeVar("T")
OnLost = Callable[[Lease], object]
Deliver = Callable[[Callable[[], None]], None]

A_THIRD: Any = object()
"""The default of `heartbeat_interval`: a third of the lease."""


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
) -> "Lock": ...


def lock(*args: Any, **options: Any) -> "Lock":  # noqa: D417 - they are those of the overloads
    """Hold a lock in a `with` or `async with` block, or around each call of a function.

    Nothing is sent before the block is entered. Then the caller waits for its turn; the lease is
    renewed in the background; at the end of the block the lock is given back, within two seconds
    even if the server is gone. Locks that nest in one thread (or asyncio task) belong to one peer,
    so that the server can check that they go from high levels to lower ones.

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
        name: What the server calls the peer in its lists and logs; by default made of program, host
            and process id.

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


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms a lock is held, with durations in seconds; see `lock`."""

    timeout: float | None
    heartbeat_interval: float | None
    beats: bool
    length: float
    on_lost: OnLost | None
    raise_if_lost: bool
    name: str | None


class Lock:
    """What `lock` returns: a context manager, an asynchronous one, and a decorator."""

    def __init__(self, server: Peer | Client, counts: Mapping[str, int], terms: Terms) -> None:
        """Prepare it; use `lock` instead."""
        self._server = server
        self._counts = counts
        self._terms = terms
        # With the thread or task that entered, see `current`.
        self._entered: list[tuple[Owner, Lease]] = []

    def __enter__(self) -> Lease:
        """Wait for the lock."""
        wire = self._client.blocking_wire()
        return run(self._enter(wire, self._peer(), _in_thread))

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Give the lock back."""
        run(self._leave(self._client.blocking_wire(), error))

    async def __aenter__(self) -> Lease:
        """Wait for the lock, without blocking the event loop."""
        wire, peer, timeout = self._client.async_wire(), self._peer(), self._terms.timeout
        if timeout == 0 or peer.acquired:
            return await self._enter(wire, peer, in_loop())
        async with turn(self._client.base_url, self._counts, timeout) as waited:
            return await self._enter(wire, peer, in_loop(), waited)

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Give the lock back, without blocking the event loop."""
        await self._leave(self._client.async_wire(), error)

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Hold the lock during each call of a function, or of a coroutine function.

        Raises:
            TypeError: It is a generator, which would run after the lock was given back.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{function.__qualname__} is a generator, which runs after its call has returned;"
                " use `with lock(...)` inside"
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def hold_and_await(*args: P.args, **kwargs: P.kwargs) -> Any:
                async with self:
                    return await function(*args, **kwargs)

            return cast(Callable[P, T], hold_and_await)

        @functools.wraps(function)
        def hold_and_call(*args: P.args, **kwargs: P.kwargs) -> T:
            with self:
                return function(*args, **kwargs)

        return hold_and_call

    def __repr__(self) -> str:
        """Show what it asks for, and of whom."""
        return f"<lock of {dict(self._counts)} at {self._client.address}>"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled."""
        raise TypeError("what `lock` returns cannot be pickled; call `lock` in the other process")

    @property
    def _client(self) -> Client:
        return self._server.client if isinstance(self._server, Peer) else self._server

    def _peer(self) -> Peer:
        """Get the peer whose lock it is to be."""
        if isinstance(self._server, Peer):
            return self._server
        peer = find_local_peer(self._server.base_url)
        name = self._terms.name or _default_name(os.getpid())
        return peer or Peer.unborn(self._server, self._terms.length, name)

    async def _enter(self, wire: Wire, peer: Peer, deliver: Deliver, waited: float = 0.0) -> Lease:
        """Acquire the locks, and watch over their lease."""
        terms = self._terms
        peer.begin()
        holding = peer.holding
        holding.check()
        for semaphore in self._counts:
            if semaphore in holding.acquired:
                raise ValueError(
                    f"this thread or task holds a lock of `{semaphore}` already, and would wait"
                    " for itself"
                )
        interval = terms.heartbeat_interval or peer.heartbeat_seconds
        token = await take(wire, holding, self._counts, terms.timeout, waited)
        lease = Lease(peer, holding, self._counts, token)
        if terms.on_lost is not None:
            holding.when_lost(partial(deliver, partial(_tell, terms.on_lost, lease)))
        if not isinstance(self._server, Peer):
            set_local_peer(self._client.base_url, peer)
        self._entered.append((current(), lease))
        begin_watch(holding, interval, beats=terms.beats)
        return lease

    def _pop_entered(self) -> Lease:
        """Tell which block is left: the last one that the current thread or task entered.

        If it entered none, one was handed over to it, most likely by one that has ended.
        """
        owners = [owner for owner, _ in self._entered]
        mine = [index for index, owner in enumerate(owners) if owner is current()]
        ended = [index for index, owner in enumerate(owners) if not is_running(owner)]
        if not owners:
            raise RuntimeError("this lock was left without having been entered")
        return self._entered.pop([0, *ended, *mine][-1])[1]

    async def _leave(self, wire: Wire, error: BaseException | None) -> None:
        """Give the locks back, and say so if they were lost."""
        lease = self._pop_entered()
        holding = lease.holding
        if not holding.is_ours:
            return
        end_watch(holding)
        loss: str | None = None
        try:
            await give_back(wire, holding, lease.semaphores)
        except LockLost as lost:
            loss = str(lost)
        finally:
            lease.is_given_back = True
            if holding.is_over:
                forget_local_peer(self._client.base_url, holding)
        if loss is None:
            return
        if error is not None:
            error.add_note(loss)
        elif self._terms.raise_if_lost:
            raise LockLost(loss)


def _bind(args: tuple[Any, ...], options: dict[str, Any]) -> Lock:
    """Sort positional arguments, whose order depends on the first one."""
    server = args[0] if args else options.pop("server_url", None) or options.pop("peer", None)
    names = ["semaphore", "count", "heartbeat_interval", "timeout"]
    if isinstance(server, str):
        names.remove("heartbeat_interval")
    given = dict(zip(names, args[1:], strict=False))
    if len(args) > len(names) + 1 or given.keys() & options.keys():
        raise TypeError(f"lock() takes {', '.join(['server', *names])}, each of them once")
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
) -> Lock:
    if isinstance(server, str):
        server = client_for(server)
    if not isinstance(server, Peer | Client):
        raise TypeError(f"the first argument must be a URL, a Client or a Peer, not {server!r}")
    if on_lost is not None and (not callable(on_lost) or inspect.iscoroutinefunction(on_lost)):
        raise TypeError(f"on_lost must be a plain function, which is not awaited: {on_lost!r}")
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name must be a str, not {name!r}")
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
        name=name,
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


@functools.lru_cache(maxsize=1)
def _default_name(pid: int) -> str:
    """Say which process of which machine asks."""
    program = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "python"
    name = f"{program}@{socket.gethostname()} pid {pid}"
    return "".join(letter for letter in name if letter.isprintable())[:128]


# What Python says of wrong arguments names the function that was called.
_prepare.__qualname__ = "lock"


def _in_thread(call: Callable[[], None]) -> None:
    spawn(call, "throttle-on-lost")


def _tell(on_lost: OnLost, lease: Lease) -> None:
    """Call back, unless the lock was given back meanwhile."""
    if not lease.is_given_back:
        try:
            on_lost(lease)
        except Exception:
            logger.exception("on_lost failed")
