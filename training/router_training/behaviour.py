"""What is learned from a log of each model's behaviour beyond adequacy."""

from pathlib import Path

from router_data.behaviour_table import BehaviourTable, load_behaviour
from router_data.rewards import DEFAULT_RULE, AdequacyRule
from router_model.behaviour import Behaviour
from router_training.behaviour_latency import (
    MIN_CALLS,
    QuantileCheck,
    compare_with_constants,
    fit_latency,
)
from router_training.behaviour_validity import fit_facts, fit_validity
from router_training.behaviour_window import fit_windows

_LATER_SHARE = 0.25


def fit_behaviour(
    state: Path, *, rule: AdequacyRule = DEFAULT_RULE, until_ms: int | None = None
) -> Behaviour:
    """The behaviour of the models in a state folder's log, as of `until_ms`.

    A part for which the log has nothing stays empty: `NO_BEHAVIOUR` of an empty log.
    """
    return behaviour_of(load_behaviour(state, rule=rule, until_ms=until_ms))


def behaviour_of(table: BehaviourTable) -> Behaviour:
    """The behaviour that a table of outcomes shows."""
    return Behaviour(
        latency=fit_latency(table),
        windows=fit_windows(table),
        validity=fit_validity(table),
        facts=fit_facts(table),
    )


def latency_on_later(table: BehaviourTable) -> tuple[QuantileCheck, ...]:
    """Quantiles fitted on the earlier three quarters of the calls, judged on the later ones."""
    n_earlier = int((1.0 - _LATER_SHARE) * table.n)
    if n_earlier < MIN_CALLS or n_earlier == table.n:
        return ()
    cut = int(table.ts_ms[n_earlier])
    is_later = table.ts_ms >= cut
    return compare_with_constants(table.select(~is_later), table.select(is_later))


def behaviour_note(behaviour: Behaviour, checks: tuple[QuantileCheck, ...] = ()) -> str:
    """What was learned, as a section of the model card; empty where nothing was."""
    if behaviour == Behaviour():
        return ""
    lines = ["## Behaviour of the models", ""]
    if behaviour.windows:
        lines += ["Context windows that end before the declared one:", ""]
    else:
        lines += ["No model's context window was seen to end before the declared one."]
    lines += [
        f"- {name}: {window.tokens} tokens; beyond, P(adequate) is lower by {window.loss:.2f} "
        f"(at least {window.bound:.2f}; {window.n} answers)"
        for name, window in behaviour.windows.items()
    ]
    if checks:
        lines += ["", "Time to the first complete tool call, fitted on the earlier calls:", ""]
    lines += [
        f"- {check.below:.3f} of {check.n} later calls were below the {check.level:.0%} quantile; "
        f"pinball loss {check.pinball:.4f}, that of constants {check.constant:.4f}"
        for check in checks
    ]
    return "\n".join([*lines, "", ""])
