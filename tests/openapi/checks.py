"""What schemathesis does here beside what it does for all servers; it loads this file itself."""

import atexit
import itertools
import json
import re
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urljoin

import schemathesis

# With these the server refuses what a request looks like, whatever it is about.
MALFORMED = {
    "bad_body",
    "bad_encoding",
    "bad_names",
    "bad_peer_id",
    "bad_query",
    "body_too_large",
    "not_json",
}

# Of these requests the document says in words alone that they are refused.
SAID_IN_WORDS = re.compile(
    "|".join(
        (
            # A parameter that goes with a field, and two fields of which one must be there: a
            # schema either cannot say it, or makes generated clients worse.
            "it means nothing here without `acquire`",
            "invalid body: missing field `expires_in`; .* may also have the field",
            "invalid body: neither `max` nor `paused` is there",
            # Formats: those who heed them know the range. To a schema alone 1.0 is an integer.
            "invalid (value: integer|type: floating point) `[^`]+`, expected (an integer of|u64)",
            "is not a peer id, expected an integer from 0 to 18446744073709551615",
            # 64 bits of seconds or of nanoseconds.
            r"is not a duration \(number is too large",
            "the labels have [0-9]+ characters together",
        )
    )
)

ANSWER_SECONDS = 30.0

# Counts the answers that the check of our own has seen; at the end their number is printed, for
# `test_generated.py` to see that there were any.
_seen = itertools.count()
atexit.register(lambda: print(f"Seen by the check of our own: {next(_seen)}"))


@schemathesis.check
def what_the_document_wants_is_understood(_: Any, response: Any, case: Any) -> None:
    """Fail where a request that is as the document wants it is refused as malformed."""
    next(_seen)
    if response.status_code < 400 or case.meta is None:
        return
    problem = json.loads(response.content)
    if case.meta.generation.mode.is_positive and problem["code"] in MALFORMED:
        assert SAID_IN_WORDS.search(problem["detail"]), problem


@schemathesis.hook
def before_call(_: Any, case: Any, __: Any) -> None:
    """See to it that most of the peers are there that requests are about."""
    peer = str(case.path_parameters.get("id"))
    if not re.fullmatch("[0-9]{1,19}", peer) or int(peer) % 8 == 7:
        return
    body = json.dumps({"expires_in": "1m", "peer_id": int(peer), "acquired": {}})
    restore = urllib.request.Request(
        urljoin(f"{case.operation.base_url}/", "restore"),
        body.encode(),
        {"Content-Type": "application/json"},
    )
    try:
        urllib.request.urlopen(restore, timeout=ANSWER_SECONDS).close()
    except urllib.error.HTTPError as refused:
        # It is there with locks, or revoked, or there is no room for it.
        if refused.code not in (409, 503):
            raise
