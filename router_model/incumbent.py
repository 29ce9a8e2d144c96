"""Goes on with the model that the caller uses anyway, beside what the router would have decided.

While a router is only observed, or a session is outside of its share, the caller's own model
answers. Nothing is drawn: such a row is an observation, which no off-policy estimate may take for
a draw. What the router would have done is kept as the decision's `shadow`.
"""

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct, structs

from router_model.catalog import Catalog
from router_model.constraint_checks import over_budget
from router_model.errors import InvalidRequestError, NoAdmissibleModelError
from router_model.reservation import reserved_microusd
from router_model.scoring import Scorer, Situation
from router_model.terms import Allowance
from router_model.types import Candidate, Decision, Expected, ModelCard, Versions

NAME: Final = "incumbent"
KEPT: Final = "incumbent: the caller keeps its own model"
UNFIT: Final = "incumbent_excluded"
# The code of a call whose model the catalog can't reckon: another stands in for it.
UNKNOWN: Final = "incumbent_unknown"
_OPEN: Final = frozenset({"", "auto"})
# What held for the router's own decision, which a replay needs.
_IN_EFFECT: Final = ("min_adequacy", "contract", "exploration", "lock")


class Incumbent(Struct, frozen=True):
    """The caller's own model: `name` as the caller writes it, `model` as the catalog does.

    Where `is_known` is false the catalog has no price for the name, and `model` only stands in for
    it in what is reckoned.
    """

    name: str
    model: str
    is_known: bool = True


def names_model(requested: str) -> bool:
    """True where a call names its model; without one, or with "auto", the router is to choose.

    >>> names_model("gpt-4o"), names_model(" Auto"), names_model("")
    (True, False, False)
    """
    return requested.strip().lower() not in _OPEN


def incumbent_of(name: str, catalog: Catalog, *, stand_in: str | None = None) -> Incumbent:
    """The incumbent of this name, reckoned as `stand_in` where the catalog has no price for it.

    Raises InvalidRequestError for such a name where nothing stands in for it.
    """
    card = catalog.resolve(name)
    if card is not None and card.price is not None:
        return Incumbent(name, card.id)
    if stand_in is None:
        raise InvalidRequestError("incumbent", name, "a model of the catalog with a price")
    return Incumbent(name, stand_in, is_known=False)


def served_card(decision: Decision, catalog: Catalog) -> ModelCard | None:
    """The model that the decision goes to; None where another only stands in for it."""
    return None if decision.reason.startswith(UNKNOWN) else catalog.models[decision.model]


def keep(
    incumbent: Incumbent | str,
    situation: Situation,
    decide: Callable[[], Decision],
    *,
    catalog: Catalog,
    scorer: Scorer,
    decision_id: str,
    versions: Versions,
    allowance: Allowance | None,
) -> Decision:
    """The decision to go on with `incumbent`, whose `shadow` is what `decide` makes of the call.

    A model that a constraint excludes answers all the same, as the caller would use it anyway;
    `reason` and `excluded` say so. A budget holds: NoAdmissibleModelError where the call could cost
    more than is left. No fallbacks are named: the caller keeps its own.
    """
    if isinstance(incumbent, str):
        incumbent = incumbent_of(incumbent, catalog)
    card = catalog.models[incumbent.model]
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
        reason=_reason(incumbent, excluded),
        excluded=excluded,
        versions=versions,
        distribution={c.model: float(c is mine) for c in candidates},
        candidates=candidates,
        step_type=situation.step_type,
        reserved_microusd=_within_budget(card, mine, situation, allowance),
        shadow=own,
        named=incumbent.name,
    )
    if own is None:
        return kept
    in_effect = {name: getattr(own, name) for name in _IN_EFFECT}
    return structs.replace(kept, **in_effect)


def _reason(incumbent: Incumbent, excluded: Mapping[str, str]) -> str:
    """Why the caller's model answers, and what is amiss with it; a client's own name is not shown.

    It may hold anything, and reasons are logged.
    """
    model = incumbent.model
    if not incumbent.is_known:
        return f"{UNKNOWN}: the model named is not in the catalog with a price, {model} stands in"
    return f"{UNFIT}: {excluded[model]}" if model in excluded else KEPT


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
        raise NoAdmissibleModelError({card.id: reason}, needed_microusd=worst)
    return worst
