"""`Lock`: the block that holds a lock, for threads and for asyncio, and the decorator."""

import functools
import inspect
import logging
import sys
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, ParamSpec, TypeVar, cast

from throttle_client._about import About
from throttle_client._asking import take, untake
from throttle_client._client import Client
from throttle_client._errors import LockLost
from throttle_client._giving_back import give_back, give_back_later
from throttle_client._heartbeat import begin_watch, end_watch
from throttle_client._holding import Holding
from throttle_client._lease import Lease
from throttle_client._local import (
    Owner,
    current,
    find_local_peer,
    forget_local_peer,
    is_running,
    set_local_peer,
)
from throttle_client._peer import Peer
from throttle_client._tasks import in_loop, turn
from throttle_client._timer import spawn
from throttle_client._wire import Wire, run

logger = logging.getLogger("throttle_client")

P = ParamSpec("P")
T = TypeVar("T")
OnLost = Callable[[Lease], object]
Deliver = Callable[[Callable[[], None]], None]


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms a lock is held, with durations in seconds; see `lock`."""

    timeout: float | None
    heartbeat_interval: float | None
    beats: bool
    length: float
    on_lost: OnLost | None
    raise_if_lost: bool
    about: About


class Lock:
    """What `lock` returns: a context manager, an asynchronous one, and a decorator."""

    def __init__(self, server: Peer | Client, counts: Mapping[str, int], terms: Terms) -> None:
        """Prepare it; use `lock` instead."""
        self._server = server
        self._counts = counts
        self._terms = terms
        # By the thread or task that entered, see `current`; each changes its own list only.
        self._entered: dict[Owner, list[Lease]] = {}

    def __enter__(self) -> Lease:
        """Wait for the lock."""
        wire = self._client.blocking_wire()
        return run(self._enter(wire, self._peer(), _in_thread))

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Give the lock back."""
        mine = self._entered.get(current(), [])
        depth = len(mine)
        try:
            run(self._leave(self._client.blocking_wire(), error))
        except BaseException:
            if 0 < depth == len(mine):
                # Ctrl+C came before anything was done.
                lease = self._pop_entered()
                _abandon(lease.holding, lease.semaphores)
            raise

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
            raise _runs_later(function, "is a generator")
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def hold_and_await(*args: P.args, **kwargs: P.kwargs) -> Any:
                async with self:
                    return await function(*args, **kwargs)

            return cast(Callable[P, T], hold_and_await)

        @functools.wraps(function)
        def hold_and_call(*args: P.args, **kwargs: P.kwargs) -> T:
            with self:
                result = function(*args, **kwargs)
                if inspect.isgenerator(result) or inspect.iscoroutine(result):
                    result.close()
                    raise _runs_later(function, "returns a generator or coroutine")
                if inspect.isasyncgen(result):
                    raise _runs_later(function, "returns an asynchronous generator")
                return result

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
        if peer is not None and not peer.holding.is_over:
            return peer
        return Peer.unborn(self._server, self._terms.length, self._terms.about)

    async def _enter(self, wire: Wire, peer: Peer, deliver: Deliver, waited: float = 0.0) -> Lease:
        """Acquire the locks, and watch over their lease."""
        if sys.is_finalizing():
            raise RuntimeError("no lock can be taken any more: the interpreter is about to end")
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
        lease = Lease(peer, holding, self._counts)
        mine = self._entered.setdefault(current(), [])
        try:
            lease.token = await take(wire, holding, self._counts, terms.timeout, waited)
            if not isinstance(self._server, Peer):
                set_local_peer(self._client.base_url, peer)
            mine.append(lease)
            begin_watch(holding, interval, beats=terms.beats)
            if terms.on_lost is not None:
                lease.tell = partial(deliver, partial(_tell, terms.on_lost, weakref.ref(lease)))
                holding.when_lost(lease.tell)
            lease.is_kept_by(weakref.finalize(lease, _abandon, holding, self._counts))
        except BaseException:
            # Whatever is left of that, for instance where Ctrl+C came in between.
            if lease in mine:
                mine.remove(lease)
            if not mine:
                self._entered.pop(current(), None)
            if all(semaphore in holding.acquired for semaphore in self._counts):
                await untake(wire, holding, self._counts)
                end_watch(holding)
            raise
        return lease

    def _pop_entered(self) -> Lease:
        """Tell which block is left: the last one that the current thread or task entered.

        If it entered none, one was handed over to it, most likely by one that has ended.
        """
        entered = {owner: leases for owner, leases in list(self._entered.items()) if leases}
        orphans = [owner for owner in entered if not is_running(owner)]
        for candidates in ([current()] if current() in entered else [], orphans, list(entered)):
            if len(candidates) == 1:
                leases = entered[candidates[0]]
                lease = leases.pop()
                if not leases:
                    self._entered.pop(candidates[0], None)
                return lease
        if not entered:
            raise RuntimeError("this lock was left without having been entered")
        raise RuntimeError(
            "several others have entered this lock, and it is unknown whose block is left; use a"
            " lock of its own for each block that is entered in one thread and left in another"
        )

    async def _leave(self, wire: Wire, error: BaseException | None) -> None:
        """Give the locks back, and say so if they were lost."""
        lease = self._pop_entered()
        holding = lease.holding
        if not holding.is_ours or sys.is_finalizing():
            # At the end of the interpreter, other threads may have died with a mutex in hand, and
            # there are no modules left to talk to the server with. The lease runs out.
            return
        loss: str | None = None
        try:
            await give_back(wire, holding, lease.semaphores)
        except LockLost as lost:
            loss = str(lost)
        except BaseException:
            # Ctrl+C may have come before anything was struck off the books.
            _abandon(holding, lease.semaphores)
            raise
        finally:
            lease.end()
            end_watch(holding)
            if lease.tell is not None:
                holding.tell_no_more(lease.tell)
            if holding.is_over:
                forget_local_peer(self._client.base_url, holding)
        if loss is None:
            return
        if error is not None:
            error.add_note(loss)
        elif self._terms.raise_if_lost:
            raise LockLost(loss)


def _runs_later(function: Callable[..., object], what: str) -> TypeError:
    name = getattr(function, "__qualname__", repr(function))
    return TypeError(
        f"{name} {what}, which runs when the lock is given back already; use `with lock(...)`"
        " inside"
    )


def _abandon(holding: Holding, counts: Mapping[str, int]) -> None:
    """Give back in the background what everybody has forgotten, as after a badly timed Ctrl+C."""
    if sys.is_finalizing() or not holding.is_ours:
        return
    if any(semaphore in holding.acquired for semaphore in counts):
        give_back_later(holding, counts)
        end_watch(holding)


def _in_thread(call: Callable[[], None]) -> None:
    spawn(call, "throttle-on-lost")


def _tell(on_lost: OnLost, found: "weakref.ref[Lease]") -> None:
    """Call back, unless the lock was given back meanwhile."""
    lease = found()
    if lease is not None and not lease.is_given_back:
        try:
            on_lost(lease)
        except Exception:
            logger.exception("on_lost failed")
