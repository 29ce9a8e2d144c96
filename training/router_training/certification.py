"""Certifies the contracts of an artifact on held-out rounds of the log."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_data.logged import LoggedDecisions
from router_data.rounds import Rounds
from router_model.contract import ALL_TENANTS, Certified
from router_training.contract import certificate
from router_training.crossval import Predictor
from router_training.evidence import Evidence, evidence_of
from router_training.matrix import Bools, Floats, Ints
from router_training.params import TrainingParams
from router_training.splits import linked_units
from router_training.threshold_plan import ThresholdPlan, plan_of

_EXACT = 1e-9


class Sample(Struct, frozen=True, kw_only=True):
    """Held-out requests (rows) and models (columns), as `router_training.contract` takes them.

    `propensity` is the probability with which the log could show a model, `action` the drawn
    model, or any shown one where all were.
    """

    tenant: NDArray[np.object_]
    group: NDArray[np.object_]
    p: Floats
    cost: Floats
    adequate: Floats
    propensity: Floats
    action: Ints

    def rows(self, mask: Bools) -> "Sample":
        """Some of the requests."""
        return Sample(**{name: getattr(self, name)[mask] for name in self.__struct_fields__})

    def plan(self) -> ThresholdPlan:
        """The order of tests; outcomes play no part in it."""
        return plan_of(self.p, self.cost, groups=self.group, propensity=self.propensity)

    def evidence(self, plan: ThresholdPlan) -> Evidence:
        """What the sample shows of each threshold of a plan."""
        return evidence_of(
            self.p,
            self.cost,
            self.adequate,
            plan=plan,
            groups=self.group,
            propensity=self.propensity,
            action=self.action,
        )

    def certify(
        self, plan: ThresholdPlan, *, params: TrainingParams, tenant: str
    ) -> tuple[Certified, ...]:
        """An entry for every alpha of the parameters."""
        evidence = self.evidence(plan)
        return tuple(
            certificate(evidence, plan, alpha=alpha, delta=params.contract_delta, tenant=tenant)
            for alpha in sorted(set(params.contract_alphas))
        )


def certify_contracts(
    predictor: Predictor,
    test: Rounds,
    logged: LoggedDecisions | None,
    *,
    params: TrainingParams,
) -> tuple[Certified, ...]:
    """Entries for all tenants together ("*"), then those that a tenant's own requests support.

    `test` must have had no part in fitting or calibrating the predictor; of `logged`, live
    decisions with their propensities, those in `test` are used. Requests with every outcome
    count as they are, all tenants in proportion to their held-out requests: the promise of "*"
    is about that mix, not about each tenant in it. A tenant gets its own entry for an alpha when
    its requests are enough to certify one if every outcome were adequate; then its own entry
    holds, also when that abstains.

    Weakness: decisions without an outcome are left out, as if they were like the others, and
    outcomes judged by weak signals are taken as they were judged.
    """
    sample = sample_of(predictor, test, logged)
    if sample is None:
        return ()
    entries = list(sample.certify(sample.plan(), params=params, tenant=ALL_TENANTS))
    tenants = sorted(set(sample.tenant.astype(str).tolist()))
    for tenant in tenants if len(tenants) > 1 else []:
        own = sample.rows(sample.tenant.astype(str) == tenant)
        entries += _own_entries(own, tenant, params=params)
    return tuple(entries)


def sample_of(predictor: Predictor, test: Rounds, logged: LoggedDecisions | None) -> Sample | None:
    """What the log shows of held-out requests; None when it shows no choice between models."""
    parts = [_of_matrix(predictor, test)]
    if logged is not None:
        is_test = np.isin(_keys(logged.tenant, logged.decision_id), _test_keys(test))
        parts.append(_of_logged(predictor, logged.select(is_test & np.isfinite(logged.adequate))))
    names = sorted({name for models, part in parts if len(part.tenant) for name in models})
    if len(names) < 2:
        return None
    return _joined([(models, part) for models, part in parts if len(part.tenant)], names)


def _own_entries(own: Sample, tenant: str, *, params: TrainingParams) -> list[Certified]:
    plan = own.plan()
    best = np.where(np.isfinite(own.adequate), 1.0, np.nan)
    ideal = Sample(
        **{n: getattr(own, n) for n in own.__struct_fields__ if n != "adequate"}, adequate=best
    )
    return [
        entry
        for entry, could in zip(
            own.certify(plan, params=params, tenant=tenant),
            ideal.certify(plan, params=params, tenant=tenant),
            strict=True,
        )
        if could.min_adequacy is not None
    ]


def _of_matrix(predictor: Predictor, test: Rounds) -> tuple[Sequence[str], Sample]:
    """Requests of which several models' outcomes are known; those models are the candidates."""
    is_shown = (test.matrix("propensity") >= 1.0 - _EXACT) & np.isfinite(test.matrix("adequate"))
    part = test.select(is_shown.sum(axis=1) >= 2)
    is_shown = is_shown[is_shown.sum(axis=1) >= 2]
    predicted = predictor.predict(
        part.features, part.embedding, list(test.models), tenant=part.tenant
    )
    spent = part.matrix("cost_usd")
    n_known = np.maximum(np.isfinite(spent).sum(axis=0), 1)
    cost = np.asarray(predicted.expected_cost, dtype=np.float64)
    mean = np.nansum(spent, axis=0) / n_known
    units = linked_units(part.session.astype(str), part.group.astype(str))
    return test.models, Sample(
        tenant=part.tenant,
        group=np.array([f"request {unit}" for unit in units], dtype=object),
        p=np.where(is_shown, predicted.p_adequate, np.nan),
        cost=np.where(np.isfinite(cost), cost, mean),
        adequate=part.matrix("adequate"),
        propensity=is_shown.astype(np.float64),
        action=np.argmax(is_shown, axis=1).astype(np.int64),
    )


def _of_logged(predictor: Predictor, logged: LoggedDecisions) -> tuple[Sequence[str], Sample]:
    """Live decisions: candidates, prices and propensities as logged, p as predicted now."""
    predicted = predictor.predict(
        logged.features, logged.embedding, list(logged.models), tenant=logged.tenant
    )
    adequate = np.full(logged.candidates.shape, np.nan)
    adequate[np.arange(logged.n), logged.action] = logged.adequate
    session, tenant = logged.session.astype(str), logged.tenant.astype(str)
    names = [
        f"session {of} {own}" if own else f"decision {of} {i}"
        for i, (of, own) in enumerate(zip(tenant, session, strict=True))
    ]
    return logged.models, Sample(
        tenant=logged.tenant,
        group=np.array(names, dtype=object),
        p=np.where(logged.candidates, predicted.p_adequate, np.nan),
        cost=logged.expected_cost,
        adequate=adequate,
        propensity=logged.distribution,
        action=logged.action,
    )


def _joined(parts: Sequence[tuple[Sequence[str], Sample]], names: Sequence[str]) -> Sample:
    def wide(models: Sequence[str], values: Floats, missing: float) -> Floats:
        table = np.full((len(values), len(names)), missing)
        table[:, [names.index(model) for model in models]] = values
        return table

    return Sample(
        tenant=np.concatenate([part.tenant for _, part in parts]),
        group=np.concatenate([part.group for _, part in parts]),
        p=np.concatenate([wide(models, part.p, np.nan) for models, part in parts]),
        cost=np.concatenate([wide(models, part.cost, np.nan) for models, part in parts]),
        adequate=np.concatenate([wide(models, part.adequate, np.nan) for models, part in parts]),
        propensity=np.concatenate([wide(models, part.propensity, 0.0) for models, part in parts]),
        action=np.concatenate(
            [
                np.array([names.index(model) for model in models], dtype=np.int64)[part.action]
                for models, part in parts
            ]
        ),
    )


def _test_keys(test: Rounds) -> NDArray[np.object_]:
    return _keys(test.tenant, test.decision_id)


def _keys(tenant: NDArray[np.object_], decision_id: NDArray[np.object_]) -> NDArray[np.object_]:
    pairs = zip(tenant.tolist(), decision_id.tolist(), strict=True)
    return np.array([f"{of}\x1f{name}" for of, name in pairs], dtype=object)
