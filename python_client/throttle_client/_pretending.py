"""A way to no server: everything is granted at once, for tests of code that takes locks."""

import json
from itertools import count

from throttle_client._durations import now
from throttle_client._wire import Answer, Request


class PretendingWire:
    """Answers as a server does that has more than enough of everything."""

    _tokens = count(1)

    async def send(self, request: Request, timeout: float) -> Answer:
        """Grant what is asked for, and say yes to everything else."""
        body = {} if request.body is None else json.loads(request.body)
        parts = request.path.partition("?")[0].split("/")
        if parts[1] == "new_peer":
            text = str(body.get("peer_id", next(self._tokens)))
        elif request.method == "PUT" and (isinstance(body, int) or "acquire" in body):
            text = parts[2]
        else:
            fixed = {"remainder": "1", "remove_expired": "0", "is_acquired": "true"}
            text = fixed.get(parts[-1], "Ok")
        return Answer(200, text, now(), token=next(self._tokens), instance=0)

    async def sleep(self, seconds: float) -> None:
        """Wait for nothing."""
