"""Replays the policies over recorded sessions, and says what each costs beside the router's."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from router_data.own_cost import ROUTER_COST_USD
from router_model.artifact import STARTER
from router_model.economics import PRIOR, CacheFacts, Economics
from router_model.router import Router
from router_training import session_policies as policies
from router_training import session_strengths as strengths
from router_training.intervals import Resampling
from router_training.recorded_sessions import Progress, Recording, read_recording
from router_training.session_economy import cross_fitted
from router_training.session_figures import difference_of, figures_of, goal_of, session_sums
from router_training.session_replay import (
    Floats,
    Played,
    Policy,
    Prepared,
    Rule,
    play,
    play_each,
    prepare,
    with_provider_state,
)
from router_training.session_replay_report import (
    Difference,
    Goal,
    PolicyFigures,
    SessionReplayReport,
    Terms,
)
from router_training.session_strengths import Strength, Strengths

BEST, STICKY, GREEDY, GREEDY_WARM = "always best", "sticky", "greedy", "greedy with caches"
FIXED, FIXED_TOTAL = "best fixed", "best fixed by total cost"
OURS, OURS_FITTED = "router", "router, cross-fitted"
LOCKED: Final = ", within locks"
FREE_RIVALS: Final = (STICKY, GREEDY, GREEDY_WARM)
RIVALS: Final = tuple(f"{name}{LOCKED}" for name in FREE_RIVALS)
NOTES: Final = (
    "what a session asked, and how long its answers were, is taken as recorded whichever model "
    "answers; tokens are those of the recorded model",
    "caches are those of the catalog's cards and keep what they promise, which the policies that "
    "heed caches know; marked caches count as marked",
    "policies expect the mean length of an answer by step type; the recorded length is billed",
)


class ReplayOptions(Struct, frozen=True, kw_only=True):
    """How sessions are replayed; for a folder, `rule` is the artifact's own.

    A `min_adequacy` replaces that of the rule, as a request's own does.

    With `lock_tool_results` every result of a tool call is tied to the provider that made it, as
    where it keeps the state of a conversation.
    """

    strengths: Strengths = "predicted"
    min_adequacy: float | None = None
    rule: Rule = Rule()
    models: tuple[str, ...] | None = None
    n_sessions: int | None = None
    lock_tool_results: bool = False
    economics: Economics = PRIOR
    router_cost_usd: float = ROUTER_COST_USD
    n_resamples: int = 1000
    seed: int = 0


def replay_folder(
    data: Path,
    router: Router,
    *,
    options: ReplayOptions | None = None,
    progress: Progress | None = None,
) -> SessionReplayReport:
    """The report on the recorded sessions of a folder; raises DatasetError where it has none."""
    chosen = options or ReplayOptions()
    recording = read_recording(
        data, n_sessions=chosen.n_sessions, seed=chosen.seed, progress=progress
    )
    if chosen.lock_tool_results:
        recording = replace(recording, sessions=with_provider_state(recording.sessions))
    strength = _strength(recording, router, chosen, progress)
    chosen = replace(chosen, rule=rule_of(router))
    return replay_recording(recording, strength, options=chosen, progress=progress)


def load_router(folder: Path | None) -> tuple[Router, Economics]:
    """The router of an artifact folder, the shipped starter without one, and its economics."""
    path = STARTER if folder is None else folder
    return Router.load(path), Economics.load(path)


def rule_of(router: Router) -> Rule:
    """The rule of the router's own policy."""
    policy = router.policy
    return Rule(
        min_adequacy=policy.min_adequacy or None,
        failure_cost_usd=policy.failure_cost_usd,
        side_call_failure_cost_usd=policy.side_call_failure_cost_usd,
    )


def replay_recording(
    recording: Recording,
    strength: Strength,
    *,
    options: ReplayOptions,
    progress: Progress | None = None,
) -> SessionReplayReport:
    """The report on sessions whose models have these strengths."""
    rule = options.rule
    if options.min_adequacy is not None:
        rule = replace(rule, min_adequacy=options.min_adequacy)
    prepared = prepare(recording.sessions, strength.catalog, strength.p, rule=rule)
    say = progress or _silent
    played = _rivals(prepared, say)
    ours = _ours(prepared, options, say)
    played |= _fixed(prepared, next(iter(ours.values())), say) | ours
    resampling = Resampling(n_resamples=options.n_resamples, seed=options.seed)
    sums = _sums(played, ours, options)
    figures = {
        name: figures_of(name, played[name], sums[name], tuple(strength.catalog.models), resampling)
        for name in played
    }
    differences = [
        difference_of(of, other, sums[of], sums[other], resampling)
        for of in ours
        for other in played
        if other not in ours
    ]
    return SessionReplayReport(
        data=recording.name,
        n_sessions=len(recording.sessions),
        n_sessions_in_data=recording.n_sessions_in_data,
        n_calls=recording.n_calls,
        models=tuple(strength.catalog.models),
        terms=(terms := _terms(options, rule)),
        policies=tuple(figures.values()),
        differences=tuple(differences),
        goals=_goals({name: figures[name] for name in ours}, differences, terms),
        notes=(*recording.notes, *strength.notes, *NOTES),
    )


def _sums(
    played: Mapping[str, Played], ours: Mapping[str, Played], options: ReplayOptions
) -> dict[str, Floats]:
    """Sums by session of every policy; the router's pays for its decisions."""
    return {
        name: session_sums(
            found, decision_cost_usd=options.router_cost_usd if name in ours else 0.0
        )
        for name, found in played.items()
    }


def _goals(
    ours: Mapping[str, PolicyFigures], differences: Sequence[Difference], terms: Terms
) -> tuple[Goal, ...]:
    """Each of the router's policies beside the rivals within locks, then beside the free ones."""
    return tuple(
        goal_of(
            of,
            figures,
            [found for found in differences if found.of == of and found.against in rivals],
            terms,
        )
        for of, figures in ours.items()
        for rivals in (RIVALS, FREE_RIVALS)
    )


def _terms(options: ReplayOptions, rule: Rule) -> Terms:
    return Terms(
        strengths=options.strengths,
        min_adequacy=rule.min_adequacy,
        failure_cost_usd=rule.failure_cost_usd,
        router_cost_usd=options.router_cost_usd,
        n_resamples=options.n_resamples,
        seed=options.seed,
        are_tool_results_locked=options.lock_tool_results,
    )


def _rivals(prepared: Prepared, progress: Progress) -> dict[str, Played]:
    chosen: dict[str, Policy] = {
        BEST: policies.fixed(policies.highest_mean(prepared)),
        STICKY: policies.sticky,
        GREEDY: policies.greedy,
        GREEDY_WARM: policies.greedy_with_caches,
        f"{STICKY}{LOCKED}": policies.within_locks(policies.sticky),
        f"{GREEDY}{LOCKED}": policies.within_locks(policies.greedy),
        f"{GREEDY_WARM}{LOCKED}": policies.within_locks(policies.greedy_with_caches),
    }
    found = {}
    for number, (name, policy) in enumerate(chosen.items()):
        progress(name, number, len(chosen))
        found[name] = play(prepared, policy)
    return found


def _ours(prepared: Prepared, options: ReplayOptions, progress: Progress) -> dict[str, Played]:
    """The router's policy as it is installed, and with what the other half of sessions taught."""
    progress(OURS, 0, 2)
    found = {OURS: play(prepared, policies.RouterPolicy(_trusting(options.economics)))}
    progress(OURS_FITTED, 1, 2)
    found[OURS_FITTED] = play_each(
        prepared, cross_fitted(prepared, known=options.economics, seed=options.seed)
    )
    return found


def _trusting(economics: Economics) -> Economics:
    """The same where every cache keeps what it promises, as those of the replay do."""
    return replace(economics, any_cache=CacheFacts(p_hit=1.0, n=0), caches={})


def _fixed(prepared: Prepared, reference: Played, progress: Progress) -> dict[str, Played]:
    """The cheapest fixed model that is as adequate as the reference on average, and the one of
    the least total cost; only models that every call admits."""
    places = policies.always_able(prepared)
    means, wanted = policies.mean_p(prepared), float(reference.p.mean())
    cheapest: tuple[float, Played] | None = None
    least: tuple[float, Played] | None = None
    for number, place in enumerate(places):
        progress("fixed models", number, len(places))
        played = play(prepared, policies.fixed(place))
        bill = float(played.cost_microusd.sum()) * 1e-6
        total = bill + float(played.failure_usd.sum())
        if means[place] >= wanted and (cheapest is None or bill < cheapest[0]):
            cheapest = (bill, played)
        if least is None or total < least[0]:
            least = (total, played)
    found = {FIXED: cheapest, FIXED_TOTAL: least}
    return {name: best[1] for name, best in found.items() if best is not None}


def _strength(
    recording: Recording, router: Router, options: ReplayOptions, progress: Progress | None
) -> Strength:
    if options.strengths == "recorded":
        return strengths.recorded(recording, models=options.models)
    if options.strengths == "differ":
        return strengths.differing(
            recording, router.catalog, models=options.models or strengths.DIFFERING
        )
    return strengths.predicted(recording, router, models=options.models, progress=progress)


def _silent(_step: str, _done: int, _total: int) -> None:
    pass
