"""Keeps several processes of the service alive.

They are forked from one that has read program and artifact already: a worker is there in a tenth
of a second, at the start as after a crash, and shares that memory with the others.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from types import FrameType
from typing import Final, NoReturn

import structlog

LOOK_S: Final = 1.0
# A worker that runs and does not go round for so long is stuck: calls wait in it for nothing.
STUCK_LOOKS: Final = 30
# Before its first call it may have to probe and load an artifact that is new.
STARTING_LOOKS: Final = 180
# One that ends at once is started again no faster than this.
PAUSE_S: Final = 1.0
_HANDLED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_FORK: Final = multiprocessing.get_context("fork")
_log = structlog.get_logger(__name__)

Beat = Callable[[], None]


class Worker:
    """One process that runs `serve`, and how often it was seen without a sign of life.

    `serve` gets a function to call as long as all is well, and returns the exit code.
    """

    def __init__(self, serve: Callable[[Beat], int]) -> None:
        self._beats = _FORK.RawValue("L", 0)
        self._n_seen, self._n_silent = 0, 0
        self.started_s = time.monotonic()
        self.process = _FORK.Process(target=self._run, args=(serve,))
        # Until the child has handlers of its own, it would take for itself what is meant for us.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    @property
    def has_started(self) -> bool:
        """True once it went round."""
        return bool(self._beats.value > 0)

    def is_stuck(self) -> bool:
        """Look once more; True when too many looks in a row found nothing new."""
        n_beats = self._beats.value
        self._n_silent = self._n_silent + 1 if n_beats == self._n_seen else 0
        self._n_seen = n_beats
        return self._n_silent >= (STUCK_LOOKS if self.has_started else STARTING_LOOKS)

    def send(self, number: int) -> None:
        """Send a signal, unless the process is gone."""
        if self.process.pid is not None and self.process.is_alive():
            os.kill(self.process.pid, number)

    def _run(self, serve: Callable[[Beat], int]) -> NoReturn:
        signal.signal(signal.SIGTERM, leave)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        raise SystemExit(serve(self._beat))

    def _beat(self) -> None:
        self._beats.value += 1


class Workers:
    """Starts workers, replaces what ends or is stuck, passes signals on, and ends them all."""

    def __init__(self, serve: Callable[[Beat], int], *, n_workers: int, end_s: float) -> None:
        """`end_s` is how long workers have to end before they are killed."""
        self._serve = serve
        self._n_workers = n_workers
        self._end_s = end_s
        self._workers: list[Worker] = []
        self._is_ending = False
        self._has_started = False

    def run(self) -> int:
        """Supervise until SIGTERM or SIGINT; the exit code, 1 where no worker comes up."""
        for number in _HANDLED:
            signal.signal(number, self._pass_on)
        self._workers = [Worker(self._serve) for _ in range(self._n_workers)]
        next_look_s = time.monotonic() + LOOK_S
        while not self._is_ending:
            self._await_an_end(next_look_s - time.monotonic())
            if time.monotonic() >= next_look_s:  # ends come between looks, and count as none
                next_look_s = time.monotonic() + LOOK_S
                self._end_the_stuck()
            codes = [self._look_after(worker) for worker in list(self._workers)]
            if not self._has_started and any(code is not None and code > 0 for code in codes):
                self._end()  # what one could not do, the next can't either
                return 1
            self._fill_up()
        return self._end()

    def _await_an_end(self, within_s: float) -> None:
        """Return when a worker has ended, at the latest after a time."""
        sentinels = [worker.process.sentinel for worker in self._workers]
        ended = wait(sentinels, timeout=max(0.0, within_s))
        for worker in self._workers:
            if worker.process.sentinel in ended:
                worker.process.join()  # it hangs up shortly before it can be waited for

    def _end_the_stuck(self) -> None:
        for worker in self._workers:
            if worker.process.is_alive() and worker.is_stuck():
                _log.error("worker.stuck", pid=worker.process.pid)
                worker.process.kill()
                worker.process.join()

    def _look_after(self, worker: Worker) -> int | None:
        """Take away a worker that ended; its exit code, None while it is alive."""
        process = worker.process
        self._has_started = self._has_started or worker.has_started
        if process.is_alive():
            return None
        self._workers.remove(worker)
        if not self._is_ending:
            _log.error("worker.ended", pid=process.pid, exit_code=process.exitcode)
            time.sleep(max(0.0, worker.started_s + PAUSE_S - time.monotonic()))
        return process.exitcode

    def _fill_up(self) -> None:
        while len(self._workers) < self._n_workers and not self._is_ending:
            self._workers.append(Worker(self._serve))

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if number != signal.SIGHUP:
            self._is_ending, number = True, signal.SIGTERM
        for worker in self._workers:
            worker.send(number)

    def _end(self) -> int:
        """Wait for all to end; 0 when each did as it was told."""
        deadline_s = time.monotonic() + self._end_s
        self._pass_on(signal.SIGTERM, None)  # also to one that was started meanwhile
        codes = []
        for worker in self._workers:
            worker.process.join(max(0.0, deadline_s - time.monotonic()))
            if worker.process.is_alive():
                _log.error("worker.killed", pid=worker.process.pid, after_s=self._end_s)
                worker.process.kill()
                worker.process.join()
            codes.append(worker.process.exitcode)
        return 0 if not any(codes) else 1


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """End this process, all being done: a handler of signals."""
    raise SystemExit(0)
