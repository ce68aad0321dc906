"""Requests and answers as values, and how to tell from an answer what happened.

What is asked of the server is written once, as coroutines over a `Wire`. The one for threads never
suspends, so `run` drives it to its end without an event loop; the one for asyncio suspends.
"""

import json
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, urlencode

from throttle_client._durations import now, parse_ms
from throttle_client._errors import (
    Refused,
    ThrottleError,
    UnknownPeer,
    UnknownSemaphore,
    Unreachable,
)

CONNECT_SECONDS = 5.0
"""How long making a connection may take."""
REPLY_SECONDS = 10.0
"""How long an answer may take, beyond what the server was asked to wait."""

PATIENCE_SECONDS = 30.0
"""For how long a call is repeated that gets no answer, where nobody says otherwise."""

PROBLEM = "application/problem+json"

# Of our own: a program that seeds the common generator gets the numbers that it expects.
jitter = random.Random()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `path` is encoded, and relative to the URL of the server."""

    method: str
    path: str
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, of whatever status.

    Attributes:
        sent_at: The time of `now()` just before the request was sent: a lease that it renews
            begins then at the earliest.
        expires_in: What is left of the lease of the peer, in seconds.
        token: The fencing token of a grant.
        instance: Which start of the server answers.
        is_problem: Whether the body is a problem document (RFC 9457).
        retry_after: For how many seconds the server asks to be left alone.
    """

    status: int
    body: str
    sent_at: float
    expires_in: float | None = None
    token: int | None = None
    instance: int | None = None
    is_problem: bool = False
    retry_after: float | None = None

    @property
    def is_good(self) -> bool:
        """Whether the request was served."""
        return self.status in (200, 202)


class Wire(Protocol):
    """A way to the server."""

    async def send(self, request: Request, timeout: float) -> Answer:
        """Send a request once.

        Args:
            request: What to send.
            timeout: Seconds that the answer may take once the connection is made.

        Raises:
            Unreachable: There was no answer. The server may have been changed.
            TlsRefused: There will never be one.
        """
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine whose wire never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise RuntimeError("a wire for threads must not suspend")


def request(
    method: str,
    *segments: str | int,
    query: Mapping[str, str] | None = None,
    body: object = None,
) -> Request:
    """Spell a request.

    Args:
        method: The method of HTTP.
        segments: The parts of the path, each of which is encoded by itself.
        query: Parameters.
        body: What to send as JSON, if anything.
    """
    path = "".join("/" + _segment(str(segment)) for segment in segments)
    if query:
        path += "?" + urlencode(query)
    return Request(method, path, None if body is None else json.dumps(body).encode())


def answer(status: int, headers: Mapping[str, str], body: bytes, sent_at: float) -> Answer:
    """Take an answer apart; `headers` must not mind the case of its keys."""
    get = headers.get
    is_refusal = status >= 300
    return Answer(
        status=status,
        body=body.decode("utf-8", "replace"),
        sent_at=sent_at,
        expires_in=parse_ms(get("throttle-expires-in")),
        token=_integer(get("throttle-token")),
        instance=_integer(get("throttle-instance")),
        is_problem=is_refusal and (get("content-type") or "").startswith(PROBLEM),
        retry_after=_integer(get("retry-after")) if is_refusal else None,
    )


def integer(answer: Answer) -> int:
    """Read the integer that an answer consists of.

    Raises:
        Refused: It is none, so this is no Throttle server.
    """
    try:
        return int(answer.body)
    except ValueError:
        raise _is_this_throttle(answer, _shorten(answer.body)) from None


def refusal(answer: Answer) -> ThrottleError:
    """Tell why a request was not served.

    Returns:
        `Unreachable` where trying again may help, otherwise `Refused` or what is derived from it.
    """
    text, code = _reason(answer)
    if answer.status in (408, 429) or (answer.status >= 500 and answer.status != 501):
        message = f"the server answered {answer.status}: {text}"
        # What a gateway says of itself tells nothing of the server behind it.
        is_sent = answer.instance is None
        return Unreachable(
            message, status=answer.status, retry_after=answer.retry_after, is_sent=is_sent
        )
    if code == "unknown_peer" or text == "Unknown peer":
        return UnknownPeer(
            text, status=answer.status, code="unknown_peer", instance=answer.instance
        )
    if code == "unknown_semaphore" or text == "Unknown semaphore":
        return UnknownSemaphore(text, status=answer.status, code="unknown_semaphore")
    if answer.status in (404, 405) or (code is None and answer.status not in (400, 409)):
        return _is_this_throttle(answer, text)
    return Refused(text, status=answer.status, code=code)


async def call(wire: Wire, request: Request, patience: float, park: float = 0.0) -> Answer:
    """Send a request that is safe to repeat, until it is served or refused.

    Args:
        wire: The way to the server.
        request: What to send.
        patience: For how many seconds to try.
        park: For how many seconds the server was asked to hold the answer back.

    Raises:
        Refused: The server refused it.
        Unreachable: It was not served in time.
    """

    async def send() -> Answer:
        answer = await wire.send(request, park + min(REPLY_SECONDS, patience))
        if not answer.is_good:
            raise refusal(answer)
        return answer

    return await insist(wire, send, patience + park)


async def insist(wire: Wire, attempt: Callable[[], Awaitable[T]], patience: float) -> T:
    """Try something that is safe to repeat for so many seconds.

    Raises:
        Unreachable: It did not succeed in time.
    """
    until = now() + patience
    backoff = Backoff()
    while True:
        try:
            return await attempt()
        except Unreachable as error:
            pause = backoff.next(error.retry_after)
            if now() + pause >= until:
                raise
            await wire.sleep(pause)


class Backoff:
    """The pauses between tries: longer and longer, up to two seconds, and never quite the same."""

    def __init__(self) -> None:
        """Begin with the first pause."""
        self._seconds = 0.05

    def next(self, asked_for: float | None = None) -> float:
        """Say how many seconds to wait now: at least what is asked for, but for half a minute."""
        pause = self._seconds * jitter.uniform(0.5, 1.0)
        self._seconds = min(2 * self._seconds, 2.0)
        return max(pause, min(asked_for or 0.0, 30.0) * jitter.uniform(1.0, 1.2))


def _segment(text: str) -> str:
    """Encode a part of a path; dots too, which otherwise mean a place in it."""
    return quote(text, safe="") if text.strip(".") else text.replace(".", "%2E")


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) <= 20 else None


def _reason(answer: Answer) -> tuple[str, str | None]:
    """The text of a refusal, and its code if it has one."""
    if answer.is_problem:
        try:
            problem = json.loads(answer.body)
            return str(problem["detail"]), str(problem["code"])
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
    return _shorten(answer.body), None


def _is_this_throttle(answer: Answer, text: str) -> Refused:
    message = f"unexpected answer {answer.status}, is this a Throttle server? {text}"
    return Refused(message, status=answer.status)


def _shorten(body: str) -> str:
    text = body.strip()
    return text if len(text) <= 500 else f"{text[:500]} …"
