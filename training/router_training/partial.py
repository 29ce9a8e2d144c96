"""What is lost when only the chosen model's outcome is seen.

On a full outcome matrix, logging policies with known propensities are simulated on the training
part of grouped folds: each logged round shows one outcome. A router trained on such a log alone is
compared, on the held-out part, with the one trained on every outcome: the area of its
cost-quality curve above the static hull, and its score above the hull at an operating point
chosen on the log itself by an off-policy estimate.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_data.logging_policy import LoggingPolicy, PolicyName
from router_data.rounds import CONTEXT_COLUMNS, ROW_COLUMNS, Rounds
from router_training.bandit_sample import BanditSample
from router_training.crossval import Fit, Predictor
from router_training.curves import (
    Policy,
    Sweep,
    apply,
    choose_operating_point,
    sweep,
)
from router_training.envelope import upper_envelope
from router_training.matrix import Floats, Ints, OutcomeMatrix
from router_training.ope import dr_terms
from router_training.params import TrainingParams
from router_training.splits import grouped_folds

POLICIES: Final[tuple[PolicyName, ...]] = ("uniform", "epsilon-greedy", "biased")
_N_INNER = 3

Arm = tuple[PolicyName, int]
Bools = NDArray[np.bool_]
OnStep = Callable[[str], None]
Train = Callable[[Rounds], Predictor]


class Study(Struct, frozen=True, kw_only=True):
    """What is compared: logs of `rounds` x contexts draws by each policy, for each seed."""

    policies: tuple[PolicyName, ...] = POLICIES
    rounds: tuple[int, ...] = (1, 3, 10)
    n_seeds: int = 3
    n_folds: int = 3
    epsilon: float = 0.1

    @property
    def n_steps(self) -> int:
        """How many predictors are fitted to be compared."""
        return self.n_seeds * self.n_folds * (1 + len(self.policies) * len(self.rounds))


class Trained(Struct, frozen=True, kw_only=True):
    """Held-out answers of routers trained one way, over all folds of one seed.

    `p` (n, m) are probabilities, `swept` the choices along the served policy, `choice` (n,) those
    at the operating point that was found in training, `fold` (n,) whose. `n_logged` outcomes were
    seen, of `n_pairs` distinct (context, model) pairs out of `n_possible`.
    """

    p: Floats
    swept: Sweep
    choice: Ints
    fold: Ints
    n_logged: int
    n_pairs: int
    n_possible: int


class Log(Struct, frozen=True, kw_only=True):
    """A simulated log, and how many distinct (context, model) pairs it shows."""

    rounds: Rounds
    n_pairs: int


def simulate_log(
    rounds: Rounds, policy: LoggingPolicy, *, n_rounds: int, rng: np.random.Generator
) -> Log:
    """Every context decided `n_rounds` times, one outcome a decision, with its propensity.

    The rounds need an outcome of every model on every context; "biased" draws by what each
    model yields on the context's task.
    """
    reward, first = rounds.matrix("reward"), _first_rows(rounds)
    context = np.repeat(np.arange(rounds.n_contexts), n_rounds)
    distribution = _distributions(policy, reward, rounds.task.astype(str))[context]
    draws = rng.random((len(context), 1))
    action = (distribution.cumsum(axis=1) < draws).sum(axis=1).clip(max=reward.shape[1] - 1)
    row = first[context, action]
    columns = {name: getattr(rounds, name)[context] for name in CONTEXT_COLUMNS}
    columns |= {name: getattr(rounds, name)[row] for name in ROW_COLUMNS}
    logged = replace(
        rounds,
        **columns
        | {
            "decision_id": np.array(
                [f"{d}-{i}" for i, d in enumerate(columns["decision_id"])], dtype=object
            ),
            "context_index": np.arange(len(context)),
            "model_index": rounds.model_index[row],
            "attempt": np.zeros(len(context), dtype=np.int64),
            "propensity": distribution[np.arange(len(context)), action],
        },
    )
    return Log(rounds=logged, n_pairs=len(np.unique(row)))


def _first_rows(rounds: Rounds) -> Ints:
    """Row of the first attempt of each (context, model)."""
    first = np.full((rounds.n_contexts, len(rounds.models)), -1, dtype=np.int64)
    order = np.arange(rounds.n_rows)[::-1]
    first[rounds.context_index[order], rounds.model_index[order]] = order
    return first


def _distributions(policy: LoggingPolicy, reward: Floats, task: NDArray[np.str_]) -> Floats:
    names, which = np.unique(task, return_inverse=True)
    overall = reward.mean(axis=0)
    table = [
        policy.distribution(overall, reward[which == number].mean(axis=0))
        for number in range(len(names))
    ]
    return np.stack(table)[which.reshape(-1)]


def train_all(
    rounds: Rounds,
    matrix: OutcomeMatrix,
    study: Study,
    *,
    params: TrainingParams,
    fit: Fit,
    on_step: OnStep = lambda step: None,
) -> dict[Arm, list[Trained]]:
    """Routers by (policy, rounds), one a seed; ("full", 1) saw every outcome.

    `rounds` and `matrix` hold the same contexts and models, without a gap.
    """

    def train(known: Rounds) -> Predictor:
        return fit(known, params=params, seed=params.seed)

    found: dict[Arm, list[Trained]] = {}
    arms: list[Arm] = [("full", 1)]
    arms += [(policy, n) for policy in study.policies for n in study.rounds]
    for seed in range(study.n_seeds):
        folds = grouped_folds(
            rounds.group.astype(str), n_folds=study.n_folds, seed=params.seed + seed
        )
        for number, (name, n_rounds) in enumerate(arms):
            parts = []
            for fold in range(int(folds.max()) + 1):
                rng = np.random.default_rng([params.seed, seed, number, fold])
                held = folds == fold
                seen = None
                if name != "full":
                    policy = LoggingPolicy(name, epsilon=study.epsilon)
                    seen = simulate_log(rounds.select(~held), policy, n_rounds=n_rounds, rng=rng)
                parts.append((held, _answer(rounds, matrix, held, seen, train=train)))
                on_step(f"{name} x {n_rounds}")
            found.setdefault((name, n_rounds), []).append(_held_out(parts))
    return found


class _Answer(Struct, frozen=True):
    """What one fold's router says of the held-out contexts, and what it was trained on."""

    p: Floats
    cost: Floats
    policy: Policy
    n_logged: int
    n_pairs: int
    n_possible: int


def _answer(
    rounds: Rounds, matrix: OutcomeMatrix, held: Bools, seen: Log | None, *, train: Train
) -> _Answer:
    """The router trained outside of `held`, on the log that was seen or on every outcome."""
    others = rounds.select(~held)
    learned = others if seen is None else seen.rounds
    p, cost = _predict(train(learned), learned, rounds.select(held), matrix)
    inner = grouped_folds(learned.group.astype(str), n_folds=_N_INNER) == 0
    router, tried = train(learned.select(~inner)), learned.select(inner)
    tried_p, tried_cost = _predict(router, learned.select(~inner), tried, matrix)
    if seen is None:
        part = matrix.rows(np.flatnonzero(~held)[inner])
        policy = choose_operating_point(part, tried_p, tried_cost, goal="above_hull")
    else:
        policy = point_on_log(tried, tried_p, tried_cost)
    return _Answer(
        p,
        cost,
        policy,
        learned.n_rows,
        learned.n_rows if seen is None else seen.n_pairs,
        others.n_rows,
    )


def point_on_log(log: Rounds, p: Floats, cost: Floats) -> Policy:
    """The operating point whose score, by DR, is most surely above the hull of fixed models.

    `p` and `cost` (n, m) come from a router that was not trained on this log; p is DR's reward
    model too. Costs are the predicted ones: they are known well, and where the hull is steep the
    noise of weighted costs would choose. A standard error is taken off each paired difference,
    or the luckiest of the points would win.
    """
    rows = np.arange(log.n_rows)

    def terms(choice: Ints) -> Floats:
        sample = BanditSample(
            reward=log.reward,
            propensity=log.propensity,
            target=(choice == log.model_index).astype(np.float64),
            reward_model=p[rows, log.model_index],
            value_model=p[rows, choice],
        )
        return dr_terms(sample)[0]

    fixed = np.column_stack([terms(np.full(log.n_rows, model)) for model in range(p.shape[1])])
    spent, score = cost.mean(axis=0), fixed.mean(axis=0)
    corner_costs, corner_scores = upper_envelope(spent, score)
    corners = [
        int(np.flatnonzero((spent == x) & (score == y))[0])
        for x, y in zip(corner_costs, corner_scores, strict=True)
    ]
    swept = sweep(p, cost, kind="failure_cost")
    best, sure = 0, -np.inf
    for number, choice in enumerate(swept.choices.T.astype(np.int64)):
        at = float(cost[rows, choice].mean())
        # The hull at this cost is a mix of two corners.
        mix = [float(np.interp(at, corner_costs, unit)) for unit in np.eye(len(corners))]
        above = terms(choice) - fixed[:, corners] @ np.array(mix)
        bound = float(above.mean() - above.std() / np.sqrt(log.n_rows))
        if bound > sure:
            best, sure = number, bound
    return Policy(kind="failure_cost", threshold=float(swept.thresholds[best]))


def _predict(
    router: Predictor, learned: Rounds, asked: Rounds, matrix: OutcomeMatrix
) -> tuple[Floats, Floats]:
    """P and cost (n, m); a cost that the router does not know is the model's mean in training."""
    told = router.predict(asked.features, asked.embedding, list(asked.models), tenant=asked.tenant)
    if matrix.cost_unit != "usd":
        return told.p_adequate, np.broadcast_to(matrix.cost[0], told.p_adequate.shape)
    cost = np.asarray(told.expected_cost, dtype=np.float64)
    spent = learned.matrix("cost_usd")
    known = np.isfinite(spent)
    total = np.where(known, spent, 0.0).sum(axis=0)
    overall = float(spent[known].mean())
    mean = np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), overall)
    return told.p_adequate, np.where(np.isfinite(cost), cost, mean)


def _held_out(parts: Sequence[tuple[Bools, _Answer]]) -> Trained:
    """The folds' answers put together."""
    shape = (len(parts[0][0]), parts[0][1].p.shape[1])
    p, cost = np.empty(shape), np.empty(shape)
    choice, fold = np.empty(shape[0], dtype=np.int64), np.empty(shape[0], dtype=np.int64)
    for number, (held, answer) in enumerate(parts):
        fold[held] = number
        p[held], cost[held] = answer.p, answer.cost
        choice[held] = apply(answer.policy, answer.p, answer.cost)
    answers = [answer for _, answer in parts]
    return Trained(
        p=p,
        swept=sweep(p, cost, kind="failure_cost"),
        choice=choice,
        fold=fold,
        n_logged=round(np.mean([a.n_logged for a in answers])),
        n_pairs=round(np.mean([a.n_pairs for a in answers])),
        n_possible=round(np.mean([a.n_possible for a in answers])),
    )
