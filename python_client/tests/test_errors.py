"""Errors: one tree of exceptions that are builtin ones as well, and travel between processes."""

import copy
import pickle
from collections.abc import Callable

import pytest

import throttle_client
from throttle_client import (
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
from throttle_client._wire import Answer, refusal
from throttle_client._wire import answer as take_apart

Travel = Callable[[ThrottleError], ThrottleError]


def pickled(error: ThrottleError) -> ThrottleError:
    """Send an error to another process and back."""
    result: ThrottleError = pickle.loads(pickle.dumps(error))
    return result


EXAMPLES: list[tuple[ThrottleError, dict[str, object]]] = [
    (ThrottleError("trouble"), {}),
    (Refused("no", status=409, code="grow"), {"status": 409, "code": "grow"}),
    (Refused("no"), {"status": None, "code": None}),
    (
        UnknownPeer("gone", status=400, code="unknown_peer", instance=7),
        {"status": 400, "code": "unknown_peer", "instance": 7},
    ),
    (UnknownPeer(instance=2**63), {"status": None, "code": None, "instance": 2**63}),
    (
        UnknownSemaphore("none such", status=400, code="unknown_semaphore"),
        {"status": 400, "code": "unknown_semaphore"},
    ),
    (InvalidUrl("no URL"), {}),
    (Timeout(), {}),
    (Timeout("1 of `A` is not free"), {}),
    (LockLost("peer 7 lost `A`"), {}),
    (
        Unreachable("busy", status=503, retry_after=1.5, is_sent=False),
        {"status": 503, "retry_after": 1.5, "is_sent": False},
    ),
    (Unreachable("no answer"), {"status": None, "retry_after": None, "is_sent": True}),
    (TlsRefused("certificate has expired"), {}),
    (NotSupported("too old"), {}),
]
names = [f"{type(error).__name__}-{index}" for index, (error, _) in enumerate(EXAMPLES)]


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (Refused, ValueError),
        (UnknownPeer, ValueError),
        (UnknownSemaphore, ValueError),
        (InvalidUrl, ValueError),
        (Timeout, TimeoutError),
        (LockLost, RuntimeError),
        (Unreachable, ConnectionError),
        (TlsRefused, ConnectionError),
        (NotSupported, NotImplementedError),
    ],
)
def test_error_is_the_builtin_that_fits(
    error: type[ThrottleError], builtin: type[Exception]
) -> None:
    """Whoever knows Python's exceptions can catch ours, and all of ours have one root."""
    assert issubclass(error, builtin)
    assert issubclass(error, ThrottleError)


def test_refusals_are_one_branch_of_the_tree() -> None:
    """What the server refuses is `Refused`; nothing else is."""
    errors = [type(error) for error, _ in EXAMPLES]

    refusals = {error for error in errors if issubclass(error, Refused)}

    assert {Refused, UnknownPeer, UnknownSemaphore} == refusals


def test_no_answer_is_not_a_timeout_of_a_lock() -> None:
    """`except TimeoutError` means that the lock was not free, never that the server is gone."""
    assert not issubclass(Unreachable, TimeoutError)
    assert not issubclass(Timeout, ConnectionError)
    assert not issubclass(TlsRefused, Unreachable)


@pytest.mark.parametrize("travel", [pickled, copy.copy, copy.deepcopy])
@pytest.mark.parametrize(("error", "attributes"), EXAMPLES, ids=names)
def test_error_survives_travel(
    travel: Travel, error: ThrottleError, attributes: dict[str, object]
) -> None:
    """Type, text, attributes and notes come through pickling and copying."""
    original = copy.copy(error)
    original.add_note("asked http://localhost:8000")

    arrived = travel(original)

    assert type(original) is type(arrived)
    assert str(original) == str(arrived)
    assert original.args == arrived.args
    assert ["asked http://localhost:8000"] == arrived.__notes__
    assert attributes == {name: getattr(arrived, name) for name in attributes}


@pytest.mark.parametrize("error", [error for error, _ in EXAMPLES], ids=names)
def test_error_shows_its_message_alone(error: ThrottleError) -> None:
    """The text is the message, with nothing of `errno` or of the class around it."""
    (message,) = error.args

    assert message == str(error)
    assert message


def test_messages_have_defaults_where_users_raise_them_without() -> None:
    """`Timeout` and `UnknownPeer` could be raised without arguments in the published versions."""
    assert "the lock was not acquired in time" == str(Timeout())
    assert "Unknown peer" == str(UnknownPeer())


def test_exceptions_of_the_package_are_all_in_the_tree() -> None:
    """Whatever exception the package exports has `ThrottleError` as its root."""
    exported = [getattr(throttle_client, name) for name in throttle_client.__all__]
    errors = {
        kind for kind in exported if isinstance(kind, type) and issubclass(kind, BaseException)
    }

    assert {type(error) for error, _ in EXAMPLES} == errors


def answer(status: int, body: str, content_type: str = "text/plain") -> Answer:
    """Make an answer as a server would give it."""
    headers = {"content-type": content_type, "throttle-instance": "7"}
    return take_apart(status, headers, body.encode(), 0.0)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_answer_that_says_later_is_unreachable(status: int) -> None:
    """A busy server may be asked again; it has changed nothing."""
    error = refusal(answer(status, "busy"))

    assert isinstance(error, Unreachable)
    assert status == error.status
    assert not error.is_sent
    assert "busy" in str(error)


def test_answer_of_501_is_final() -> None:
    """What a server has not implemented is not implemented a moment later: 0.5.13 shrinks no lock.

    Asking again for 30 seconds would only hide the reason.
    """
    text = "Shrinking the count of an existing lock is currently not implemented."

    error = refusal(answer(501, text))

    assert not isinstance(error, Unreachable)
    assert text in str(error)


def test_plain_text_is_recognized() -> None:
    """Servers without problem documents say the same in words."""
    peer = refusal(answer(400, "Unknown peer"))
    semaphore = refusal(answer(400, "Unknown semaphore"))

    assert isinstance(peer, UnknownPeer)
    assert ("unknown_peer", 7) == (peer.code, peer.instance)
    assert isinstance(semaphore, UnknownSemaphore)
    assert "unknown_semaphore" == semaphore.code


@pytest.mark.parametrize("body", ["not JSON", "[]", "{}", '{"detail": "no"}', "null", '"text"'])
def test_broken_problem_document_is_shown_as_text(body: str) -> None:
    """A document that is none is shown as it came, and has no code."""
    error = refusal(answer(409, body, "application/problem+json"))

    assert isinstance(error, Refused)
    assert error.code is None
    assert body == str(error)


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405, 418])
def test_answer_of_another_server_is_told_as_such(status: int) -> None:
    """A page of somebody else says which status it had, and asks what kind of server that is."""
    error = refusal(answer(status, "<html>no</html>", "text/html"))

    assert isinstance(error, Refused)
    assert f"unexpected answer {status}, is this a Throttle server?" in str(error)


def test_long_page_is_cut() -> None:
    """An error does not fill the screen with somebody's page."""
    error = refusal(answer(404, "x" * 100_000))

    assert len(str(error)) < 1000
    assert str(error).endswith("…")
