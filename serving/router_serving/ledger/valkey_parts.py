"""Large batches in parts, so that no script holds up the server for all who share it.

A part takes some 0.1 ms for each hold or bill, and after an outage a process has thousands of
them to say. The parts are numbered in their order within the number of the batch.
"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from router_serving.ledger.types import Batch, Committed

AT_ONCE: Final = 500
# More parts than a batch ever has.
_NUMBERS: Final = 1024


def parts_of(batch: Batch) -> Sequence[Batch]:
    """The batch, or several that say the same one after the other.

    >>> [part.number for part in parts_of(Batch(worker="a", now_s=0.0, hold_s=9.0, number=2))]
    [2048]
    """
    empty = replace(batch, returns=(), holds=(), bills=(), grants=(), counts=())
    holds, bills = batch.holds, batch.bills
    parts = [batch]
    if len(holds) + len(bills) > AT_ONCE:
        parts = [
            *(replace(empty, holds=holds[i : i + AT_ONCE]) for i in range(0, len(holds), AT_ONCE)),
            *(replace(empty, bills=bills[i : i + AT_ONCE]) for i in range(0, len(bills), AT_ONCE)),
        ]
        parts[0] = replace(parts[0], returns=batch.returns)
        parts[-1] = replace(parts[-1], grants=batch.grants, counts=batch.counts)
    if not batch.number:
        return parts
    first = batch.number * _NUMBERS
    return [replace(part, number=first + i) for i, part in enumerate(parts)]


def joined(parts: Sequence[Batch], answers: Sequence[Committed]) -> Committed:
    """The answer to the whole: what was asked in its order, then what waited."""
    both = list(zip(parts, answers, strict=True))
    asked = [billed for part, answer in both for billed in answer.billed[: len(part.bills)]]
    waited = [billed for part, answer in both for billed in answer.billed[len(part.bills) :]]
    return Committed(
        granted=answers[-1].granted,
        kept=tuple(charge for answer in answers for charge in answer.kept),
        billed=(*asked, *waited),
        n_expired=sum(answer.n_expired for answer in answers),
        wanted=answers[-1].wanted,
        is_new=answers[0].is_new,
    )
