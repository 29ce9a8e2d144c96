"""What a router would have cost and yielded on a log without propensities, by a model alone.

Such a log says nothing about models that were not called. So everything here is assumed, not
observed: P(adequate) and lengths of answers are a predictor's (the direct method: unbiased only
where the predictor is right, and no interval knows whether it is), prices are the catalog's, and
caches follow one of two rules:

- `kept`: every model would have read as many tokens from its cache as the logged call did. True
  of a policy that stays with one model, too good for one that switches;
- `cold`: a call that does not take the model of the session's last work call reads nothing from
  the cache, and the router knows it. Too bad where the other model was used shortly before.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_data.observations import SIDE_CALLS
from router_data.rounds import Rounds, Texts
from router_model.catalog import Catalog
from router_model.errors import DatasetError
from router_model.policy import CheapestAdequate
from router_model.predictor import Prediction
from router_training.intervals import Interval, Resampling, mean_interval
from router_training.matrix import Floats, Ints
from router_training.repricing import repriced

Caches = Literal["kept", "cold"]
CACHES: tuple[Caches, ...] = ("kept", "cold")


class AnswerPredictor(Protocol):
    """What is asked of a predictor: P(adequate) and lengths of answers."""

    def predict(
        self,
        features: NDArray[np.float32],
        embedding: NDArray[np.float32],
        models: Sequence[str],
        *,
        tenant: Sequence[str] | Texts | None = None,
    ) -> Prediction:
        """Predictions for every pair of a context and a model; `tenant` is each context's."""
        ...


class Assumed(Struct, frozen=True, kw_only=True):
    """Calls (rows) under every model (columns), as assumed.

    `warm_usd` is a call's cost with what the logged call read from the cache, `cold_usd` with
    nothing. `logged` is the column of the model that was called. `session` and `place` say
    which session a call belongs to, and the order in it. `n_left_out` calls had no known usage.
    """

    models: tuple[str, ...]
    p_adequate: Floats
    warm_usd: Floats
    cold_usd: Floats
    logged: Ints
    session: NDArray[np.object_]
    ts_ms: Ints
    is_side_call: NDArray[np.bool_]
    billed_usd: Floats
    n_left_out: int

    @property
    def n(self) -> int:
        """How many calls there are."""
        return len(self.logged)

    def always(self, model: str) -> Ints:
        """The choice of one model for every call."""
        return np.full(self.n, self.models.index(model), dtype=np.int64)

    def routed(self, policy: CheapestAdequate, *, caches: Caches) -> Ints:
        """What the served policy would choose, knowing what each choice costs under the rule."""
        failure = np.where(
            self.is_side_call, policy.side_call_failure_cost_usd, policy.failure_cost_usd
        )
        if policy.min_adequacy > 0:
            failure = np.zeros(self.n)
        risk = (1.0 - self.p_adequate) * failure[:, None]
        is_best = self.p_adequate >= self.p_adequate.max(axis=1, keepdims=True)
        is_adequate = self.p_adequate >= policy.min_adequacy
        allowed = np.where(is_adequate.any(axis=1, keepdims=True), is_adequate, is_best)
        risk[~allowed] = np.inf
        choice: Ints = (self.warm_usd + risk).argmin(axis=1).astype(np.int64)
        if caches == "cold":
            for before, after in zip(*self._steps(), strict=True):
                cost, same = self.cold_usd[after].copy(), choice[before]
                cost[same] = self.warm_usd[after, same]
                choice[after] = (cost + risk[after]).argmin()
        return choice

    def cost_usd(self, choice: Ints, *, caches: Caches) -> Floats:
        """Cost of every call under a choice."""
        rows = np.arange(self.n)
        warm = self.warm_usd[rows, choice]
        if caches == "kept":
            return warm
        before, after = self._steps()
        is_switch = np.zeros(self.n, dtype=bool)
        is_switch[after] = choice[before] != choice[after]
        return np.where(is_switch, self.cold_usd[rows, choice], warm)

    def yields(
        self, choice: Ints, *, caches: Caches, resampling: Resampling | None = None
    ) -> "Yield":
        """Mean cost and P(adequate) of a choice, and what it saves against the log."""
        rows, cost = np.arange(self.n), self.cost_usd(choice, caches=caches)
        p = self.p_adequate[rows, choice]
        saving = self.cost_usd(self.logged, caches="kept") - cost
        change = p - self.p_adequate[rows, self.logged]
        intervals = (
            mean_interval(values, self.session.astype(str), resampling=resampling)
            for values in (cost, p, saving, change)
        )
        return Yield(*intervals)

    def _steps(self) -> tuple[Ints, Ints]:
        """Work calls that follow another one of their session: those before, and they."""
        work = np.flatnonzero(~self.is_side_call)
        order = work[np.lexsort((self.ts_ms[work], self.session[work].astype(str)))]
        before, after = order[:-1], order[1:]
        same = self.session[before] == self.session[after]
        return before[same], after[same]


class Yield(Struct, frozen=True):
    """Means over calls with intervals over sessions, which say nothing of wrong assumptions."""

    cost_usd: Interval
    p_adequate: Interval
    saving_usd: Interval
    p_change: Interval


def assume(
    rounds: Rounds, predictor: AnswerPredictor, catalog: Catalog, *, models: Sequence[str]
) -> Assumed:
    """What is assumed of logged calls under `models` and the models that were called.

    An answer of another model is as much longer as the predictor says. Calls without known
    usage are left out. Raises DatasetError when none is left, or a model has no price.
    """
    first = np.unique(rounds.context_index, return_index=True)[1]
    usage = rounds.input_tokens[first] + rounds.cached_tokens[first] + rounds.output_tokens[first]
    rows = first[np.isfinite(usage)]
    if not len(rows):
        raise DatasetError(f"usage: got none of {len(first)} calls, expected some")
    context = rounds.context_index[rows]
    names = tuple(sorted({*models, *rounds.model[rows].tolist()}))
    told = predictor.predict(
        rounds.features[context], rounds.embedding[context], names, tenant=rounds.tenant[context]
    )
    logged = np.array([names.index(name) for name in rounds.model[rows]], dtype=np.int64)
    length = told.output_tokens / told.output_tokens[np.arange(len(rows)), logged][:, None]
    output = rounds.output_tokens[rows][:, None] * length
    warm, cold = (
        _costs(catalog, names, rounds.input_tokens[rows], cached, output)
        for cached in (rounds.cached_tokens[rows], np.zeros(len(rows)))
    )
    return Assumed(
        models=names,
        p_adequate=told.p_adequate,
        warm_usd=warm,
        cold_usd=cold,
        logged=logged,
        session=rounds.session[context],
        ts_ms=rounds.ts_ms[context],
        is_side_call=np.isin(rounds.step_type[context].astype(str), SIDE_CALLS),
        billed_usd=rounds.cost_usd[rows],
        n_left_out=rounds.n_contexts - len(rows),
    )


def _costs(
    catalog: Catalog, names: Sequence[str], tokens: Floats, cached: Floats, output: Floats
) -> Floats:
    costs = np.column_stack(
        [
            repriced(
                catalog,
                [name] * len(tokens),
                input_tokens=tokens,
                cached_tokens=cached,
                output_tokens=output[:, column],
            )
            for column, name in enumerate(names)
        ]
    )
    is_priced = np.asarray(np.isfinite(costs).all(axis=0))
    unpriced = [name for name, known in zip(names, is_priced, strict=True) if not known]
    if unpriced:
        raise DatasetError(f"model: no price is known of {', '.join(unpriced)}")
    return costs
