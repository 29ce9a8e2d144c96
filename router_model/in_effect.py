"""What is in effect for one call, of all that request, tenant, service and artifact ask."""

from collections.abc import Sequence

from msgspec import structs

from router_model.contract import Contracts
from router_model.exploration import LOCKED, OVER_SOFT_CAP, PINNED
from router_model.locks import Lock
from router_model.policy import CheapestAdequate
from router_model.terms import ARTIFACT, REQUEST, SETTING, SOFT_CAP, Exploration, Objective, Terms
from router_model.types import ModelCard, PolicyOverrides


def within_pin(overrides: PolicyOverrides, terms: Terms) -> PolicyOverrides:
    """The request's limits with the tenant's pin: both must allow a model."""
    pin = terms.models
    if pin is None:
        return overrides
    asked = overrides.models
    models = pin if asked is None else tuple(model for model in asked if model in pin)
    return structs.replace(overrides, models=models)


def threshold_of(
    policy: CheapestAdequate,
    contracts: Contracts,
    *,
    tenant: str,
    overrides: PolicyOverrides,
    terms: Terms,
) -> tuple[float | None, str | None]:
    """The least P(adequate) in effect and what set it: the first that is given.

    The request itself, the tenant's contract, the service's setting, the artifact's policy. A
    soft cap that is exceeded lowers whichever it is, and sets one where total cost would decide.
    """
    found, set_by = _asked(policy, contracts, tenant=tenant, overrides=overrides, terms=terms)
    enough = terms.soft_cap_min_adequacy
    if enough is None or (found is not None and found <= enough):
        return found, set_by
    return enough, SOFT_CAP


def _asked(
    policy: CheapestAdequate,
    contracts: Contracts,
    *,
    tenant: str,
    overrides: PolicyOverrides,
    terms: Terms,
) -> tuple[float | None, str | None]:
    if overrides.min_adequacy is not None:
        return overrides.min_adequacy, REQUEST
    if (promise := terms.contract) is not None:
        found = contracts.min_adequacy_for(tenant, promise.alpha, promise.delta)
        return found.min_adequacy, found.source
    if terms.min_adequacy is not None:
        return terms.min_adequacy, SETTING
    if policy.min_adequacy > 0.0:
        return policy.min_adequacy, ARTIFACT
    return None, None


def objective_of(overrides: PolicyOverrides, *, set_by: str | None) -> Objective:
    """What is to be least; beyond a soft cap always the cost.

    >>> objective_of(PolicyOverrides(objective="latency"), set_by=SOFT_CAP)
    'cost'
    """
    if overrides.objective is None or set_by == SOFT_CAP:
        return "cost"
    return overrides.objective


def exploration_of(
    policy: CheapestAdequate,
    cards: Sequence[ModelCard],
    overrides: PolicyOverrides,
    terms: Terms,
    lock: Lock | None,
) -> Exploration:
    """What may be explored, before candidates are compared."""
    exploration = policy.exploring if terms.exploration is None else terms.exploration
    if exploration.share <= 0.0:
        return exploration
    is_pinned = overrides.models is not None and len(cards) == 1
    off = LOCKED if lock is not None and lock.is_tied else PINNED if is_pinned else None
    if off is None and terms.soft_cap_min_adequacy is not None:
        off = OVER_SOFT_CAP
    return structs.replace(exploration, off=off)
