"""Ends a worker whose supervisor is gone.

A supervisor that is killed outright takes no leave of its workers. They would serve on, unseen by
whoever started the service, and hold the port that a new one needs.
"""

import asyncio
import os
import signal
from typing import Final

import structlog

LOOK_S: Final = 0.5
_log = structlog.get_logger(__name__)


async def end_when_orphaned(supervisor: int | None) -> None:
    """Ask this process to end (SIGTERM) as soon as `supervisor` is not its parent any more.

    That may be so from the beginning, where it was killed while this process started.
    """
    while os.getppid() == supervisor:
        await asyncio.sleep(LOOK_S)
    _log.warning("worker.orphaned", supervisor=supervisor)
    os.kill(os.getpid(), signal.SIGTERM)
