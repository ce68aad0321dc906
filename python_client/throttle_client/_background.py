"""Releases that the server did not answer: sent again in the background until the lease has ended.

One thread for each server, while there is something to do.
"""

import logging
import os
import threading
import time
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

from throttle_client._client import Client
from throttle_client._durations import now
from throttle_client._errors import Unreachable
from throttle_client._holding import Holding
from throttle_client._timer import spawn
from throttle_client._wire import Backoff, Request, refusal, run

logger = logging.getLogger("throttle_client")

# How long one answer may take, in seconds.
ANSWER_SECONDS = 2.0
# How often to look for something that is due earlier, in seconds.
LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class _Job:
    """What to send, not before one time of `now()` and not after another.

    Attributes:
        pauses: After how many seconds it is to be served again, and again.
    """

    not_before: float
    until: float
    holding: Holding
    release: Request
    pauses: tuple[float, ...]


class _Worker:
    """Sends what is to be released at one server."""

    def __init__(self) -> None:
        # No condition: Ctrl+C can come while one is being entered, and leaves it locked.
        self._mutex = threading.RLock()
        self._jobs: list[_Job] = []
        self._is_running = False

    def add(self, jobs: list[_Job]) -> None:
        """Take jobs; where no thread can be started, they wait for the next ones."""
        with self._mutex:
            self._jobs += jobs
            if not self._is_running:
                self._is_running = spawn(self._run, "throttle-release")

    def _run(self) -> None:
        backoff = Backoff()
        while True:
            with self._mutex:
                if not self._jobs:
                    self._is_running = False
                    return
                job = min(self._jobs, key=lambda job: job.not_before)
            if now() < job.not_before:
                time.sleep(min(job.not_before - now(), LOOK_SECONDS))
                continue
            try:
                _send(job)
                backoff = Backoff()
            except Unreachable as error:
                if now() < job.until:
                    time.sleep(backoff.next(error.retry_after))
                    continue
                logger.info("peer %s is left to expire: %s", job.holding.id, error)
            except Exception as error:
                logger.warning("peer %s is left to expire: %s", job.holding.id, error)
            self._finish(job)

    def _finish(self, job: _Job) -> None:
        """Strike a job off, or put it back if it is to be served again."""
        with self._mutex:
            self._jobs.remove(job)
            if job.pauses and now() < job.until:
                again = replace(job, not_before=now() + job.pauses[0], pauses=job.pauses[1:])
                self._jobs.append(again)
                return
        job.holding.count_withdrawals(-1)


def release_later(
    holding: Holding, releases: list[Request], pause: float = 0.0, *pauses: float
) -> None:
    """Release something in the background.

    Args:
        holding: Whose it is. It asks for nothing new before that is through.
        releases: What to send.
        pause: In how many seconds each of them is due.
        pauses: How many seconds after it was served it is due again, and again.
    """
    began_at = now()
    until = began_at + holding.length
    jobs = [_Job(began_at + pause, until, holding, each, pauses) for each in releases]
    if jobs:
        holding.count_withdrawals(len(jobs))
        _workers.setdefault(holding.client, _Worker()).add(jobs)


def _send(job: _Job) -> None:
    answer = run(job.holding.client.blocking_wire().send(job.release, ANSWER_SECONDS))
    if not answer.is_good:
        error = refusal(answer)
        if isinstance(error, Unreachable):
            raise error
        logger.debug("peer %s has nothing to release: %s", job.holding.id, error)


_workers: "WeakKeyDictionary[Client, _Worker]" = WeakKeyDictionary()

# A child process has nothing to release for its parent.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.clear)
