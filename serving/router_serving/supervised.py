"""A worker's side of supervision: it shows that it lives, and ends when nobody looks any more.

A supervisor that is killed outright takes no leave of its workers. They would serve on, unseen by
whoever started the service, and hold the port that a new one needs.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Final

import structlog

BEAT_S: Final = 0.5
_log = structlog.get_logger(__name__)


async def supervised(supervisor: int | None, beat: Callable[[], None]) -> None:
    """Call `beat` twice a second, as long as the event loop goes round and there is a supervisor.

    As soon as `supervisor` is not its parent any more, which may be so from the beginning, the
    process asks itself to end (SIGTERM).
    """
    while os.getppid() == supervisor:
        beat()
        await asyncio.sleep(BEAT_S)
    _log.warning("worker.orphaned", supervisor=supervisor)
    os.kill(os.getpid(), signal.SIGTERM)
