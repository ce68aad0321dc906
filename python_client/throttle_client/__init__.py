"""Hold locks of a Throttle server: `with lock("http://localhost:8000", "A"):`.

While the block runs, no more permits of the semaphore `A` are taken, by all programs on all
machines together, than its max. Whoever comes first is served first. A lease covers what is held;
it is renewed in the background, and ends if this process dies. `lock` is a decorator as well, and
works with `async with`; what it yields is a `Lease`, which knows whether it is still good.

What is not promised: a lease is not mutual exclusion. A process that is paused for longer than its
lease still believes in it for the moment between two lines of code; `Lease.token` lets a resource
tell who came later.
"""

from throttle_client._block import Lock
from throttle_client._client import Client
from throttle_client._durations import Duration
from throttle_client._errors import (
    InvalidUrl,
    LockLost,
    NotSupported,
    Refused,
    ThrottleError,
    Timeout,
    TlsRefused,
    UnknownPeer,
    UnknownSemaphore,
    Unreachable,
)
from throttle_client._heartbeat import Heartbeat
from throttle_client._lease import Lease
from throttle_client._local import (
    clear_peers,
    get_local_peer,
    init_peers,
    set_local_peer,
    threadlocal,
)
from throttle_client._lock import lock
from throttle_client._peer import Peer, PeerWithHeartbeat
from throttle_client._version import __version__

__all__ = [
    "Client",
    "Duration",
    "Heartbeat",
    "InvalidUrl",
    "Lease",
    "Lock",
    "LockLost",
    "NotSupported",
    "Peer",
    "PeerWithHeartbeat",
    "Refused",
    "ThrottleError",
    "Timeout",
    "TlsRefused",
    "UnknownPeer",
    "UnknownSemaphore",
    "Unreachable",
    "__version__",
    "clear_peers",
    "get_local_peer",
    "init_peers",
    "lock",
    "set_local_peer",
    "threadlocal",
]
