"""How much each logged outcome counts in training.

The predictor is a regression of adequacy on the request and the model. Where the choice of the
model depended on nothing but what the regression sees, each outcome is a fair sample of its
(request, model) pair and weights are not needed; they matter as far as the regression is too
simple for the truth, for then it is best where the log is dense. Weighting by the inverse of the
propensity makes it best where requests are, at the price of variance (Shimodaira, 2000, who also
gives the powers between none and full weight). The weights are stabilised (Robins, Hernán and
Brumback, 2000): they average 1 for each model, so that a rarely drawn model is not loud, and
constant propensities change nothing.

The default power of 0.5 is a compromise between two measurements. Where the choices knew what the
regression does not see, the error of the models' mean probabilities falls from 0.028 without
weights to 0.018 at power 0.5 and 0.008 at 1 (tests/statistical/test_partial_feedback.py). Where it
sees all that they knew (coderouterbench, a biased log, 10 outcomes a request), the held-out log
loss rises from 0.6585 to 0.6588 and 0.6590.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_data.rounds import Rounds, Texts
from router_model.heads import Floats
from router_training.missingness import observation_model
from router_training.params import TrainingParams

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
# Capping may cost this share of all weight, not more: data of one tenant is better than none.
_LEAST_KEPT = 0.5


def training_weights(rounds: Rounds, observed: Bools, params: TrainingParams) -> Floats:
    """Weight of every row (n_rows,), 0 where nothing was `observed`.

    Evidence x inverse propensity x inverse probability of observation, then no key and no tenant
    has more than its share. 1 for each row of a full outcome matrix of one tenant.
    """
    weight = uncapped_weights(rounds, observed, params)
    tenant = np.unique(rounds.tenant.astype(str), return_inverse=True)[1][rounds.context_index]
    key = _keys(rounds)[rounds.context_index]
    weight = capped(weight, key, share=params.max_key_share)
    return capped(weight, tenant, share=params.max_tenant_share)


def uncapped_weights(rounds: Rounds, observed: Bools, params: TrainingParams) -> Floats:
    """The weights before any tenant or key is capped."""
    is_chance = is_drawn(rounds)
    drawn = is_chance & observed
    weight = np.where(np.isfinite(rounds.weight), rounds.weight, 1.0) * observed
    seen = Seen.of(rounds, drawn)
    weight[drawn] /= seen.n_times
    if params.weighting == "ipw" and drawn.any():
        p_seen = seen.p * p_observed(rounds, is_chance, observed, seed=params.seed)[drawn]
        weight[drawn] *= stabilised(
            p_seen**-params.propensity_power,
            rounds.model_index[drawn],
            base=1.0 / seen.n_times,
            largest=params.max_weight,
        )
    return weight


def p_observed(rounds: Rounds, drawn: Bools, observed: Bools, *, seed: int) -> Floats:
    """How probable it was that the outcome of a drawn row came, 1 for others and where all did."""
    p = np.ones(rounds.n_rows)
    if (drawn & ~observed).any():
        context = rounds.context_index[drawn]
        p[drawn] = observation_model(
            rounds.features[context],
            rounds.model_index[drawn],
            observed[drawn],
            rounds.group[context].astype(str),
            seed=seed,
        ).p_observed
    return p


def is_drawn(rounds: Rounds) -> Bools:
    """The rows whose model a logging policy drew: the only ones of their context with a propensity.

    Of a full outcome matrix every row has one.
    """
    known = np.isfinite(rounds.propensity) & (rounds.propensity > 0)
    n_known = np.bincount(rounds.context_index, known, minlength=rounds.n_contexts)
    return np.asarray(known & (n_known[rounds.context_index] == 1))


class Seen(Struct, frozen=True):
    """Of each drawn row: how often its (request, model) pair was, and how probable that was.

    `p` is 1 - (1 - propensity) ** n where the same request was logged n times: the probability
    that the pair was seen at all.
    """

    n_times: Floats
    p: Floats

    @classmethod
    def of(cls, rounds: Rounds, drawn: Bools) -> "Seen":
        """What is known of the drawn rows; requests of one tenant with equal hashes are equal."""
        context = rounds.context_index[drawn]
        request = _requests(rounds)[context]
        pair = request * len(rounds.models) + rounds.model_index[drawn]
        _, place, n_times = np.unique(pair, return_inverse=True, return_counts=True)
        _, of_request, n_requests = np.unique(request, return_inverse=True, return_counts=True)
        p = np.minimum(rounds.propensity[drawn], 1.0)
        mean = np.bincount(place, p)[place] / n_times[place]
        unseen = (1.0 - mean) ** n_requests[of_request]
        return cls(n_times[place].astype(np.float64), 1.0 - unseen)


def stabilised(raw: Floats, model: Ints, *, base: Floats, largest: float) -> Floats:
    """Raw weights over their model's mean, at most `largest`; they then average 1 for each model.

    The mean is over rows that count `base` each.

    >>> model, base = np.array([0, 0, 1]), np.ones(3)
    >>> stabilised(np.array([1.0, 3.0, 50.0]), model, base=base, largest=5.0)
    array([0.5, 1.5, 1. ])
    """
    clipped = np.minimum(raw / _means(raw, model, base), largest)
    return np.asarray(clipped / _means(clipped, model, base))


def capped(weight: Floats, owner: Ints, *, share: float) -> Floats:
    """Weights scaled down so that no owner has more than `share` of their sum.

    Water-filling: every owner's total is cut at one level. The level is never so low that more
    than half of all weight goes, nor below the least owner's total: with too few owners, or too
    little beside the greatest, the share that is left is greater.

    >>> capped(np.array([6.0, 1.0, 1.0, 1.0, 1.0]), np.arange(5), share=0.25).round(2)
    array([1.33, 1.  , 1.  , 1.  , 1.  ])
    """
    totals: Floats = np.bincount(owner, weight).astype(np.float64)
    level = _level(np.sort(totals[totals > 0])[::-1], share)
    factor = np.minimum(1.0, level / np.maximum(totals, 1e-300))
    return np.asarray(weight * factor[owner])


def _level(totals: Floats, share: float) -> float:
    """Where to cut falling totals."""
    if not len(totals):
        return 0.0
    rest = totals.sum() - np.concatenate([[0.0], np.cumsum(totals)])[:-1]
    # With the first k cut at L, L = share (rest_k + k L), or k L + rest_k = half of everything.
    k = np.arange(len(totals))
    room = 1.0 - share * k
    by_share = share * rest / np.where(room > 0, room, np.inf)
    by_half = (_LEAST_KEPT * totals.sum() - rest) / np.maximum(k, 1)
    levels = [totals[-1], _first(by_share, totals), _first(by_half, totals)]
    return float(max(levels))


def _first(levels: Floats, totals: Floats) -> float:
    """The level of the fewest cuts that leaves the next total whole; 0 where none does."""
    fits = np.flatnonzero(totals <= levels)
    return float(levels[fits[0]]) if len(fits) else 0.0


def _means(values: Floats, model: Ints, base: Floats) -> Floats:
    total = np.bincount(model, base * values)
    return np.asarray((total / np.maximum(np.bincount(model, base), 1e-300))[model])


def _requests(rounds: Rounds) -> Ints:
    """Number of each context's request; without a hash it is one of its own.

    Equal hashes in different groups are different requests: data sets that keep no text have
    equal hashes throughout.
    """
    group = np.array(
        [f"{t}\0{g}" for t, g in zip(rounds.tenant, rounds.group, strict=True)], object
    )
    return _numbers(group, rounds.request_hash)


def _keys(rounds: Rounds) -> Ints:
    """Number of each context's (tenant, key); a request without a key is nobody else's."""
    return _numbers(rounds.tenant, rounds.key)


def _numbers(tenant: Texts, name: Texts) -> Ints:
    """Number of each (tenant, name); a missing name is one of its own."""
    pairs = [
        f"{whose}\0{known}" if known else f"\0{index}"
        for index, (whose, known) in enumerate(zip(tenant.tolist(), name.tolist(), strict=True))
    ]
    return np.unique(np.array(pairs), return_inverse=True)[1].astype(np.int64)
