"""The router's choice over whole sessions, where the truth is known and over recorded ones."""

import numpy as np
import pytest
from paths import DATA, requires_data
from recorded_samples import call, model, prepared, session

from router_model.cards import Capabilities, PriceCard
from router_training.recorded_sessions import Recording
from router_training.session_replay import Prepared
from router_training.session_replay_report import SessionReplayReport
from router_training.session_strengths import Strength
from router_training.session_study import (
    GREEDY,
    OURS,
    OURS_FITTED,
    RIVALS,
    STICKY,
    ReplayOptions,
    load_router,
    replay_folder,
    replay_recording,
)

pytestmark = pytest.mark.statistical
_MARGIN = 0.01
DEAR = PriceCard(input=3.0, output=15.0, cache_read=0.3, cache_write=3.75)
UNCACHED = PriceCard(input=0.9, output=4.5)
CHEAP = PriceCard(input=1.0, output=5.0, cache_read=0.1, cache_write=1.25)


def differing_phases(n_sessions: int, *, seed: int) -> Prepared:
    """Questions that only the dear model answers, then results of tools that all can read.

    After half of the questions come one or two results, after the others fifteen to thirty. At
    list prices the model without a cache is the cheapest, one that stays warm is cheaper.
    """
    rng = np.random.default_rng(seed)
    sessions, tables = [], []
    for number in range(n_sessions):
        calls, p, tokens = [], [], 8_000
        for _ in range(int(rng.integers(2, 5))):
            n_results = int(rng.integers(1, 3) if rng.random() < 0.5 else rng.integers(15, 31))
            for place in range(1 + n_results):
                calls.append(call(tokens, output_tokens=150, is_result=place > 0))
                easy = 0.9 if place else 0.3
                p.append([0.9, easy, easy])
                tokens += 300
        sessions.append(session(calls, name=f"s{number}"))
        tables.append(p)
    cards = [
        model("dear", DEAR),
        model("cheap", CHEAP),
        model("uncached", UNCACHED, capabilities=Capabilities(tools=True)),
    ]
    return prepared(sessions, cards, tables, min_adequacy=0.6)


def report_on(replayed: Prepared, *, seed: int) -> SessionReplayReport:
    recording = Recording(
        name="phases",
        sessions=replayed.sessions,
        n_sessions_in_data=len(replayed.sessions),
        successes={},
        notes=(),
    )
    strength = Strength(catalog=replayed.catalog, p=replayed.p)
    return replay_recording(
        recording, strength, options=ReplayOptions(rule=replayed.rule, seed=seed)
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_where_strengths_differ_the_router_is_cheaper_than_sticky_and_greedy(seed: int) -> None:
    report = report_on(differing_phases(120, seed=seed), seed=seed)
    for found in report.differences:
        if found.of in (OURS, OURS_FITTED) and found.against in RIVALS:
            assert found.bill_share.high < 0, (found.of, found.against, found.bill_share)
    assert all(report.policy(name).adequate_share == 1.0 for name in (OURS, STICKY, GREEDY))


@requires_data
@pytest.mark.parametrize("name", ["tau_bench", "tau2_bench", "swebench_verified_mini"])
@pytest.mark.parametrize("min_adequacy", [None, 0.7])
def test_over_recorded_sessions_the_router_is_never_dearer(
    name: str, min_adequacy: float | None
) -> None:
    router, economics = load_router(None)
    options = ReplayOptions(
        min_adequacy=min_adequacy, n_sessions=60, economics=economics, n_resamples=200
    )
    report = replay_folder(DATA / name, router, options=options)
    for goal in report.goals:
        assert goal.n_unsafe_switches == 0
        if goal.rivals == RIVALS:
            assert goal.share.estimate <= _MARGIN, (goal.of, goal.best, goal.share)


@requires_data
@pytest.mark.parametrize("name", ["tau_bench", "tau2_bench", "swebench_verified_mini"])
def test_over_recorded_sessions_it_is_cheaper_than_both_where_strengths_differ(name: str) -> None:
    router, economics = load_router(None)
    options = ReplayOptions(
        strengths="differ",
        min_adequacy=0.8,
        n_sessions=60,
        lock_tool_results=name == "tau_bench",
        economics=economics,
        n_resamples=200,
    )
    report = replay_folder(DATA / name, router, options=options)
    for goal in report.goals:
        assert goal.n_unsafe_switches == 0
        if goal.rivals == RIVALS:
            # Where nobody may switch inside a tool loop, all policies do nearly the same.
            most = _MARGIN if options.lock_tool_results else 0.0
            assert goal.share.high <= most, (goal.of, goal.best, goal.share)
    if options.lock_tool_results:
        assert report.policy(GREEDY).n_unsafe_switches > 0
