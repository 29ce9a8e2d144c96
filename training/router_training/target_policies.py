"""Policies whose value on the logged decisions is asked for.

A policy is anything that gives each logged decision a probability for every candidate. It may
look at all that was known before the draw, never at the action that was drawn or its outcome.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from numbers import Real
from pathlib import Path
from traceback import extract_tb
from typing import Protocol

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_data.logged import LoggedDecisions
from router_model.artifact import read_manifest, verify
from router_model.errors import RouterError
from router_model.policy import CheapestAdequate
from router_training.decision_view import DecisionView, view_of
from router_training.served_choice import chosen_by

Floats = NDArray[np.float64]
_TOLERANCE = 1e-6


class PolicyError(RouterError):
    """A policy that can't be evaluated; names the file, the decision or the value."""

    code = "invalid_policy"


class TargetPolicy(Protocol):
    """What off-policy evaluation needs of a policy."""

    @property
    def name(self) -> str:
        """How reports call it."""
        ...

    def distribution(self, logged: LoggedDecisions) -> Floats:
        """Probabilities (decisions, models), each row summing to 1 over the candidates."""
        ...


class LoggedPolicy(Struct, frozen=True):
    """The policy that wrote the log."""

    name: str = "logged"

    def distribution(self, logged: LoggedDecisions) -> Floats:
        """The logged probabilities."""
        return logged.distribution


class FixedPolicy(Struct, frozen=True):
    """One model for every decision; where it was no candidate, what the log did."""

    model: str

    @property
    def name(self) -> str:
        """How reports call it."""
        return f"always {self.model}"

    def distribution(self, logged: LoggedDecisions) -> Floats:
        """1 for the model where it was a candidate."""
        column = _column(self.model, logged)
        table = logged.distribution.copy()
        is_admissible = logged.candidates[:, column]
        table[is_admissible] = 0.0
        table[is_admissible, column] = 1.0
        return table


class MixturePolicy(Struct, frozen=True):
    """The first model with probability `share`, else the second, whatever the request."""

    models: tuple[str, str]
    share: float

    @property
    def name(self) -> str:
        """How reports call it."""
        first, second = self.models
        return f"{self.share:.0%} {first}, else {second}"

    def distribution(self, logged: LoggedDecisions) -> Floats:
        """The mixture of both fixed policies."""
        first, second = (FixedPolicy(model).distribution(logged) for model in self.models)
        return self.share * first + (1.0 - self.share) * second


class CheapestAdequatePolicy(Struct, frozen=True):
    """The served policy with other settings, on the predictions that were logged.

    Thresholds of single requests and contracts are replaced by the policy's own. A candidate
    whose p is unknown counts as inadequate, and one of unknown cost as dear as the dearest.
    """

    policy: CheapestAdequate = CheapestAdequate()

    @property
    def name(self) -> str:
        """How reports call it: with the settings that are not the default."""
        default, own = CheapestAdequate(), self.policy
        changed = [
            f"{field}={getattr(own, field):g}"
            for field in own.__struct_fields__
            if getattr(own, field) != getattr(default, field)
        ]
        return f"{own.name}({', '.join(changed)})"

    def distribution(self, logged: LoggedDecisions) -> Floats:
        """What the policy chooses among each decision's candidates.

        Raises PolicyError for a log without any prediction, such as an imported one.
        """
        if not np.isfinite(logged.p_adequate[logged.candidates]).any():
            raise PolicyError("p_adequate: the log holds no prediction, expected some to choose by")
        return chosen_by(self.policy, logged, logged.p_adequate, expected_cost=logged.expected_cost)


class ArtifactPolicy(Struct, frozen=True):
    """An artifact's predictor and policy on the logged features, among the logged candidates.

    Costs are the logged ones, and the artifact's where none were logged.
    """

    folder: Path

    @property
    def name(self) -> str:
        """How reports call it."""
        return f"artifact {read_manifest(self.folder).version}"

    @property
    def settings(self) -> CheapestAdequate:
        """The policy that the artifact is served with."""
        return msgspec.convert(verify(self.folder).policy, CheapestAdequate)

    def distribution(self, logged: LoggedDecisions) -> Floats:
        """What the artifact would choose; PolicyError when it reads other features or texts."""
        from router_training.artifacts import load_artifact

        manifest = verify(self.folder)
        for field in ("feature_schema", "encoder"):
            ours, theirs = getattr(manifest, field), getattr(logged, field)
            if ours != theirs:
                raise PolicyError(f"{self.folder}: {field}: got {ours}, the log has {theirs}")
        predicted = load_artifact(self.folder).predict(
            logged.features, logged.embedding, logged.models, tenant=logged.tenant
        )
        cost = np.where(
            np.isfinite(logged.expected_cost), logged.expected_cost, predicted.expected_cost
        )
        return chosen_by(self.settings, logged, predicted.p_adequate, expected_cost=cost)


class PolicyTable(Struct, frozen=True):
    """Probabilities that are already known, in the order of the decisions and models."""

    name: str
    table: Floats

    def distribution(self, logged: LoggedDecisions) -> Floats:
        """The table itself."""
        return self.table


class FunctionPolicy(Struct, frozen=True):
    """A policy that is a function of a decision: a model's name, or probabilities by model.

    `FunctionPolicy(lambda d: min(d.candidates, key=lambda m: d.candidates[m].expected_cost))`
    takes the cheapest candidate.
    """

    function: Callable[[DecisionView], str | Mapping[str, float]]
    name: str = "function"

    def distribution(self, logged: LoggedDecisions) -> Floats:
        """What the function returns; PolicyError for a model that was no candidate."""
        table = np.zeros(logged.distribution.shape)
        place = {model: column for column, model in enumerate(logged.models)}
        for row in range(logged.n):
            view = view_of(logged, row)
            try:
                answer = self.function(view)
            except (Exception, SystemExit) as error:  # the caller's own code
                where = f"{self.name}: decision {view.decision_id}"
                raise PolicyError(f"{where}: {failure_of(error)}") from error
            for model, probability in _probabilities(answer, view, self.name).items():
                table[row, place[model]] = probability
        return table


class RestrictedPolicy(Struct, frozen=True):
    """Another policy where the log supports it; its other probability goes where the log's went.

    Nothing is unsupported then, so that the estimate needs no extrapolation; but it is the value
    of this policy, not of the one inside.
    """

    policy: TargetPolicy

    @property
    def name(self) -> str:
        """How reports call it."""
        return f"{self.policy.name}, within the log's support"

    def distribution(self, logged: LoggedDecisions) -> Floats:
        """The supported part, the rest spread as the log was."""
        table = distribution_of(self.policy, logged) * (logged.distribution > 0)
        missing = 1.0 - table.sum(axis=1, keepdims=True)
        return np.asarray(table + missing * logged.distribution)


def distribution_of(policy: TargetPolicy, logged: LoggedDecisions) -> Floats:
    """The policy's distribution, checked: PolicyError names the decision and the value."""
    table = np.asarray(policy.distribution(logged), dtype=np.float64)
    if table.shape != logged.distribution.shape:
        raise PolicyError(
            f"{policy.name}: got shape {table.shape}, expected {logged.distribution.shape}"
        )
    faults = (
        (~np.isfinite(table) | (table < 0)).any(axis=1),
        (np.where(logged.candidates, 0.0, table) > 0).any(axis=1),
        np.abs(table.sum(axis=1) - 1.0) > _TOLERANCE,
    )
    texts = ("numbers of at least 0", "probability on candidates only", "probabilities adding to 1")
    for is_wrong, expected in zip(faults, texts, strict=True):
        if is_wrong.any():
            row = int(np.argmax(is_wrong))
            given = {m: float(p) for m, p in zip(logged.models, table[row], strict=True) if p != 0}
            raise PolicyError(
                f"{policy.name}: got {given} for decision {logged.decision_id[row]}, "
                f"expected {expected}"
            )
    return table


def training_overlap(policy: TargetPolicy, logged: LoggedDecisions) -> int:
    """How many of the decisions are older than the artifact, which may have been trained on them.

    0 for a policy that is no artifact. What was trained on looks better than it is.
    """
    if isinstance(policy, RestrictedPolicy):
        return training_overlap(policy.policy, logged)
    if not isinstance(policy, ArtifactPolicy):
        return 0
    created = datetime.fromisoformat(verify(policy.folder).created)
    return int((logged.ts_ms < created.timestamp() * 1000).sum())


def settings_of(policy: TargetPolicy) -> CheapestAdequate:
    """The settings of a policy that has some, the defaults for any other."""
    if isinstance(policy, RestrictedPolicy):
        return settings_of(policy.policy)
    if isinstance(policy, ArtifactPolicy):
        return policy.settings
    return policy.policy if isinstance(policy, CheapestAdequatePolicy) else CheapestAdequate()


def failure_of(error: BaseException) -> str:
    """What went wrong in a caller's own code, and in which line."""
    last = extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})"


def _probabilities(
    answer: str | Mapping[str, float], view: DecisionView, name: str
) -> Mapping[str, float]:
    given = {answer: 1.0} if isinstance(answer, str) else answer
    is_usable = isinstance(given, Mapping) and given.keys() <= view.candidates.keys()
    if not is_usable or not all(isinstance(p, Real) for p in given.values()):
        raise PolicyError(
            f"{name}: got {answer!r} for decision {view.decision_id}, expected one of "
            f"{', '.join(sorted(view.candidates))}, or their probabilities by name"
        )
    return given


def _column(model: str, logged: LoggedDecisions) -> int:
    if model not in logged.models:
        raise PolicyError(f"model: got {model!r}, expected one of {', '.join(logged.models)}")
    return logged.models.index(model)
