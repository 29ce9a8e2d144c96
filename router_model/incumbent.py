"""Goes on with the model that the caller uses anyway, beside what the router would have decided.

While a router is only observed, or a session is outside of its share, the caller's own model
answers. Nothing is drawn: such a row is an observation, which no off-policy estimate may take for
a draw. What the router would have done is kept as the decision's `shadow`.
"""

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import structs

from router_model.constraint_checks import over_budget
from router_model.errors import NoAdmissibleModelError
from router_model.reservation import reserved_microusd
from router_model.scoring import Scorer, Situation
from router_model.terms import Allowance
from router_model.types import Candidate, Decision, Expected, ModelCard, Versions

NAME: Final = "incumbent"
KEPT: Final = "incumbent: the caller keeps its own model"
UNFIT: Final = "incumbent_excluded"
# What held for the router's own decision, which a replay needs.
_IN_EFFECT: Final = ("min_adequacy", "contract", "exploration", "lock")


def keep(
    card: ModelCard,
    situation: Situation,
    decide: Callable[[], Decision],
    *,
    scorer: Scorer,
    decision_id: str,
    versions: Versions,
    allowance: Allowance | None,
) -> Decision:
    """The decision to go on with `card`, whose `shadow` is what `decide` makes of the call.

    A model that a constraint excludes answers all the same, as the caller would use it anyway;
    `reason` and `excluded` say so. A budget holds: NoAdmissibleModelError where the call could cost
    more than is left. No fallbacks are named: the caller keeps its own.
    """
    own, excluded = _decided(decide)
    candidates = () if own is None else own.candidates
    mine = next((c for c in candidates if c.model == card.id), None)
    if mine is None:
        mine = scorer.score([card], situation).candidates[card.id]
        candidates = (*candidates, mine)
    kept = Decision(
        decision_id=decision_id,
        model=card.id,
        snapshot=card.snapshot,
        provider=card.provider,
        fallbacks=(),
        expected=Expected.of(mine),
        propensity=1.0,
        policy=NAME,
        reason=f"{UNFIT}: {excluded[card.id]}" if card.id in excluded else KEPT,
        excluded=excluded,
        versions=versions,
        distribution={c.model: float(c is mine) for c in candidates},
        candidates=candidates,
        step_type=situation.step_type,
        reserved_microusd=_within_budget(card, mine, situation, allowance),
        shadow=own,
    )
    if own is None:
        return kept
    in_effect = {name: getattr(own, name) for name in _IN_EFFECT}
    return structs.replace(kept, **in_effect)


def _decided(decide: Callable[[], Decision]) -> tuple[Decision | None, Mapping[str, str]]:
    """The router's own decision, None where nothing is admissible, and what was excluded."""
    try:
        own = decide()
    except NoAdmissibleModelError as error:
        return None, error.excluded
    return own, own.excluded


def _within_budget(
    card: ModelCard, mine: Candidate, situation: Situation, allowance: Allowance | None
) -> int | None:
    """What the call may cost at most in micro-dollars, None without a budget."""
    if allowance is None:
        return None
    worst = reserved_microusd(
        card, mine, asking=situation.asking, max_output_tokens=situation.max_output_tokens
    )
    if (reason := over_budget(worst, allowance)) is not None:
        raise NoAdmissibleModelError({card.id: reason})
    return worst
