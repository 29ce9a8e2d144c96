"""A process that admits one call and is killed before its reservation is written.

python ledger_victim.py STATE_FOLDER HOLD_S
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from kept_ledgers import ledger_in
from routers import ask, router

from router_model.reservation import reserved_microusd
from router_model.scoring import asking_of
from router_model.terms import Allowance, Terms
from router_model.types import Caller, Decision, PolicyOverrides
from router_serving.ledger.ledger import Ledger
from router_serving.ledger.limits import Limits

ROUTER = router()
REQUEST = ask(max_output_tokens=1_000)
ACME = Caller(tenant="acme")


def deciding(decision_id: str, allowance: Allowance | None) -> Decision:
    """The decision for an allowance."""
    return ROUTER.decide(
        REQUEST,
        caller=ACME,
        overrides=PolicyOverrides(),
        decision_id=decision_id,
        terms=Terms(allowance=allowance),
    )


def worst(decision: Decision) -> int:
    """What is reserved for a decision."""
    chosen = next(c for c in decision.candidates if c.model == decision.model)
    return reserved_microusd(
        ROUTER.catalog.models[decision.model],
        chosen,
        asking=asking_of(REQUEST),
        max_output_tokens=REQUEST.max_output_tokens,
    )


async def call(ledger: Ledger, decision_id: str, limits: Limits) -> Decision:
    """A call that is admitted."""
    admission = await ledger.admitted(ACME, limits)
    return await admission.decided(
        lambda allowance: deciding(decision_id, allowance), REQUEST, catalog=ROUTER.catalog
    )


def one_call() -> Limits:
    """A budget that one call uses up."""
    return Limits(microusd_per_month=worst(deciding("any", None)))


async def _die(folder: Path, hold_s: float) -> None:
    async with ledger_in(folder, workers=2, hold_s=hold_s) as ledger:
        await call(ledger, "d1", one_call())
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(_die(Path(sys.argv[1]), float(sys.argv[2])))
