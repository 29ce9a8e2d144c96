"""A process that spends from a ledger until it is killed, and says what was acknowledged.

python ledger_spender.py FILE NAME
"""

import sys
from itertools import count
from pathlib import Path

from ledger_stores import DAY, NOW, Process, account, bill, hold

from router_serving.ledger.sqlite_store import SqliteStore
from router_serving.ledger.types import Charge, Grant

BUDGET = account(cap=100_000, ends_s=DAY)
LEASE = 40
COST = 7


def spend(path: Path, name: str) -> None:
    """Lease, hold and bill in separate commits; a line for each bill that is durable."""
    process = Process(lambda: SqliteStore(path), name)
    free = 0
    for i in count():
        if free < COST:
            free += process.lease(BUDGET, LEASE)
        if free < COST:
            return
        free -= COST
        decision = f"{name}-{i}"
        process.say(at=NOW, holds=(hold(decision, Charge(BUDGET, COST)),))
        grants = (Grant(account=BUDGET, amount=COST),)
        answer = process.say(at=NOW, bills=(bill(decision, COST),), grants=grants)
        free += answer.granted[0]
        sys.stdout.write(f"{decision}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    spend(Path(sys.argv[1]), sys.argv[2])
