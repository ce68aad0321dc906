"""Pools of connections that Ctrl+C cannot leave locked.

The queue of the standard library, which urllib3 uses, is entered in Python code; an exception from
a signal handler in that very moment keeps all others out for ever.
"""

import queue
from collections import deque
from typing import Any

import urllib3


class _Stack:
    """What a pool keeps its connections in: the one that was used last comes first."""

    def __init__(self, maxsize: int) -> None:
        self._items: deque[Any] = deque(maxlen=maxsize)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take out what was put in last; the pool makes a connection where there is none."""
        try:
            return self._items.pop()
        except IndexError:
            raise queue.Empty from None

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Keep a connection."""
        if len(self._items) == self._items.maxlen:
            raise queue.Full
        self._items.append(item)

    def qsize(self) -> int:
        """Count what is kept."""
        return len(self._items)


class _HttpPool(urllib3.HTTPConnectionPool):
    QueueCls = _Stack  # type: ignore[assignment]


class _HttpsPool(urllib3.HTTPSConnectionPool):
    QueueCls = _Stack  # type: ignore[assignment]


POOLS = {"http": _HttpPool, "https": _HttpsPool}
