"""What can go wrong, as one tree of exceptions.

Each also is the builtin exception that fits, carries what it knows as attributes, and survives
pickling. Whatever is passed to a constructor by keyword is an attribute of that name.

    ThrottleError
    ├── Refused (ValueError)          the server refused a request, and changed nothing
    │   ├── UnknownPeer               the peer has expired, was released, or the server restarted
    │   └── UnknownSemaphore          no semaphore of that name is configured
    ├── InvalidUrl (ValueError)       the URL of the server is none
    ├── Timeout (TimeoutError)        the lock was not acquired in time
    ├── LockLost (RuntimeError)       a lease ended before its lock was given back
    ├── Unreachable (ConnectionError) no answer, or one that says "later"; trying again may help
    ├── TlsRefused (ConnectionError)   no trusted TLS connection can be made
    └── NotSupported (NotImplementedError)  the server is too old for this
"""


class ThrottleError(Exception):
    """Whatever this package raises on its own account, but for wrong arguments."""


class Refused(ThrottleError, ValueError):
    """The server refused a request; it changed nothing.

    Attributes:
        status: The status code of HTTP.
        code: Which refusal it is, such as `level_violation`, see the HTTP reference; `None` where
            the server does not say it.
    """

    def __init__(self, message: str, *, status: int | None = None, code: str | None = None) -> None:
        """Keep what the server said."""
        super().__init__(message)
        self.status = status
        self.code = code


class UnknownPeer(Refused):
    """The server does not know the peer: it expired, was released, or the server was restarted."""

    def __init__(
        self,
        message: str = "Unknown peer",
        *,
        status: int | None = None,
        code: str | None = None,
        instance: int | None = None,
    ) -> None:
        """Keep which start of the server (`Throttle-Instance`) does not know the peer."""
        super().__init__(message, status=status, code=code)
        self.instance = instance


class UnknownSemaphore(Refused):
    """No semaphore of that name is configured at the server."""


class InvalidUrl(ThrottleError, ValueError):
    """What was given is not the URL of a server."""


class Timeout(ThrottleError, TimeoutError):
    """The lock was not acquired in time. The ask is withdrawn, and nothing is held."""

    def __init__(self, message: str = "the lock was not acquired in time") -> None:
        """Say what was waited for."""
        super().__init__(message)


class LockLost(ThrottleError, RuntimeError):
    """The lease ended, or somebody released the peer, before the lock was given back.

    The permits may be somebody else's by now. Nothing is taken again silently.
    """


class Unreachable(ThrottleError, ConnectionError):
    """The server did not answer, or answered that it cannot serve now. Trying again may help.

    Attributes:
        status: The status code of HTTP, if there was an answer.
        retry_after: Seconds that the server asked to wait for, if it did.
        is_sent: Whether the request may have reached the server, and changed something there.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        is_sent: bool = True,
    ) -> None:
        """Keep what is known of the failure."""
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.is_sent = is_sent


class TlsRefused(ThrottleError, ConnectionError):
    """No trusted TLS connection can be made. Trying again does not help."""


class NotSupported(ThrottleError, NotImplementedError):
    """The server is too old for what was asked for."""
