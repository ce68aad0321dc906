"""The peers of each thread, or of each asyncio task: locks that nest in one belong to one peer.

A task that is started from another, and a thread that is started with `to_thread`, have peers of
their own: two of them waiting on behalf of one peer would collide, since a peer waits for one ask
at a time.
"""

import asyncio
import os
import threading
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from throttle_client._client import client_for
from throttle_client._holding import Holding
from throttle_client._peer import Peer, PeerWithHeartbeat


class _ThreadLocal(threading.local):
    """The peers of a thread, by the URL of their server."""

    def __init__(self) -> None:
        self.peers: dict[str, Peer] = {}


threadlocal = _ThreadLocal()
_of_tasks: "WeakKeyDictionary[asyncio.Task[Any], dict[str, Peer]]" = WeakKeyDictionary()


Owner: TypeAlias = "asyncio.Task[Any] | threading.Thread"


def current() -> Owner:
    """Whose peers we mean: the task that runs, or else the thread."""
    return _task() or threading.current_thread()


def is_running(owner: Owner) -> bool:
    """Whether a task or thread has not ended yet."""
    return owner.is_alive() if isinstance(owner, threading.Thread) else not owner.done()


def local_peers() -> dict[str, Peer]:
    """Get the peers of the current task or thread, by the URL of their server."""
    task = _task()
    return threadlocal.peers if task is None else _of_tasks.setdefault(task, {})


def get_local_peer(url: str) -> Peer:
    """Get the peer of the current thread or task for a server; make one if there is none.

    Raises:
        InvalidUrl: That is no URL of a server.
        Unreachable: No answer for 30 seconds.
    """
    peers = local_peers()
    if _key(url) not in peers:
        peers[_key(url)] = PeerWithHeartbeat(client_for(url))
    return peers[_key(url)]


def set_local_peer(url: str, peer: Peer) -> Peer | None:
    """Have the locks of the current thread or task belong to this peer.

    It is forgotten when its last lock is given back.

    Returns:
        The peer that it replaces, if any.
    """
    peers = local_peers()
    old = peers.get(_key(url))
    peers[_key(url)] = peer
    return old


def clear_peers() -> None:
    """Forget the peers of the current thread or task. Nothing is given back."""
    local_peers().clear()


def init_peers() -> None:
    """Prepare the current thread or task; earlier versions needed that. Forgets nothing."""
    local_peers()


def find_local_peer(url: str) -> Peer | None:
    """Get the peer of the current thread or task for a server, if there is one."""
    return local_peers().get(_key(url))


def forget_local_peer(url: str, holding: Holding) -> None:
    """Forget the peer of the current thread or task for a server if that is what it held."""
    peer = find_local_peer(url)
    if peer is not None and peer.holding is holding:
        del local_peers()[_key(url)]


def _key(url: str) -> str:
    return url.rstrip("/")


def _task() -> "asyncio.Task[Any] | None":
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _forget_all() -> None:
    threadlocal.peers.clear()
    _of_tasks.clear()


# A child process owns nothing of what its parent holds.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
