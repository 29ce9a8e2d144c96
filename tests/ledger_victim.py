"""A process that admits one call and is killed before its reservation is written.

python ledger_victim.py STATE_FOLDER HOLD_S
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from kept_ledgers import call, deciding, ledger_in, worst

from router_serving.ledger.limits import Limits


def one_call() -> Limits:
    """A budget that one call uses up."""
    return Limits(microusd_per_month=worst(deciding("any")(None)))


async def _die(folder: Path, hold_s: float) -> None:
    async with ledger_in(folder, workers=2, hold_s=hold_s) as ledger:
        await call(ledger, "d1", limits=one_call())
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(_die(Path(sys.argv[1]), float(sys.argv[2])))
