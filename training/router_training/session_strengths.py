"""P(adequate) of every model for the calls of recorded sessions: predicted, recorded, or made up.

`predicted` reads every call with an artifact's predictor. `recorded` takes how the models did on
the session's task, shrunk to each model's mean. `differ` is no measurement but a scenario: one
model is the better one at main turns, others are at the results of tools.
"""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from router_data.descriptors import card_for
from router_model.catalog import Catalog, catalog_of
from router_model.errors import DatasetError
from router_model.router import Router
from router_model.types import ModelCard, StepType
from router_training.recorded_sessions import Progress, RecordedSession, Recording
from router_training.session_replay import Floats

Strengths = Literal["predicted", "recorded", "differ"]

_BATCH: Final = 400
# Trials that the mean of a model counts for, beside those on the task itself.
PRIOR_TRIALS: Final = 1.0
# A model that was recorded but is not sold any more; the limits of its time.
_OLD_CONTEXT: Final = 128_000
_OLD_OUTPUT: Final = 16_384

DIFFERING: Final = ("claude-sonnet-5-5", "kimi-k2.5", "qwen3.5-plus")
"""The models of `differ`: a dear one, a cheap one, and one without a cache whose list price is the
lowest but which costs more than the cheap one that is warm."""
BETTER_AT_MAIN: Final = {StepType.MAIN: 0.95, StepType.TOOL_RESULT: 0.85}
BETTER_AT_RESULTS: Final = {StepType.MAIN: 0.70, StepType.TOOL_RESULT: 0.95}


class Strength(Struct, frozen=True, kw_only=True):
    """The models that are chosen among, and P(adequate) by session, then by (call, model)."""

    catalog: Catalog
    p: tuple[Floats, ...]
    notes: tuple[str, ...] = ()


def predicted(
    recording: Recording,
    router: Router,
    *,
    models: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Strength:
    """What the router's predictor says of every call and every priced model of its catalog."""
    cards = _wanted(router.catalog, models)
    column = {name: index for index, name in enumerate(router.scorer.bound.names)}
    columns = [column[card.id] for card in cards]
    calls = [call for session in recording.sessions for call in session.calls]
    blocks = []
    for start in range(0, len(calls), _BATCH):
        if progress is not None:
            progress("predictions", start, len(calls))
        contexts = [call.context for call in calls[start : start + _BATCH]]
        values = np.stack([context.values for context in contexts])
        embedding = np.stack([router.embed(context) for context in contexts])
        found = router.scorer.bound.predict_batch(values, embedding)
        blocks.append(found.p_adequate[:, columns])
    return Strength(
        catalog=catalog_of(cards, as_of=router.catalog.as_of),
        p=_by_session(np.concatenate(blocks), recording.sessions),
    )


def recorded(recording: Recording, *, models: Sequence[str] | None = None) -> Strength:
    """Success on the session's task by model, shrunk to the model's mean; the same for all calls.

        p = (sum of scores + k·mean of the model) / (number of scores + k), k = PRIOR_TRIALS

    Models without a known price are left out.
    """
    by_card = _scores_by_card(recording)
    cards = [card for card in by_card if models is None or card.id in models]
    if len(cards) < 2:
        raise DatasetError(
            f"{recording.name}: outcomes of {len(cards)} chosen models with a price, expected "
            f"2 or more of {', '.join(card.id for card in by_card) or 'none'}"
        )
    rows = []
    for session in recording.sessions:
        row = [_shrunk(by_card[card], session.request_id) for card in cards]
        rows.append(np.tile(np.array(row), (len(session.calls), 1)))
    return Strength(
        catalog=catalog_of(cards, as_of=""),
        p=tuple(rows),
        notes=(
            "models that are not in the catalog: prices of their time, an automatic cache of "
            "5 minutes where a price for reading it is known",
        ),
    )


def differing(
    recording: Recording, catalog: Catalog, *, models: Sequence[str] = DIFFERING
) -> Strength:
    """The scenario: the first model is the better one at main turns, the others at tool results."""
    cards = _wanted(catalog, models)
    strengths = [BETTER_AT_MAIN] + [BETTER_AT_RESULTS] * (len(cards) - 1)
    rows = []
    for session in recording.sessions:
        steps = [
            StepType.TOOL_RESULT if call.step_type is StepType.TOOL_RESULT else StepType.MAIN
            for call in session.calls
        ]
        rows.append(np.array([[strength[step] for strength in strengths] for step in steps]))
    return Strength(
        catalog=catalog_of(cards, as_of=catalog.as_of),
        p=tuple(rows),
        notes=("P(adequate) is a scenario, no measurement",),
    )


def _wanted(catalog: Catalog, models: Sequence[str] | None) -> list[ModelCard]:
    priced = [card for card in catalog.enabled if card.price is not None]
    if models is None:
        return priced
    chosen = {}
    for name in models:
        card = catalog.resolve(name)
        if card is None or card not in priced:
            names = ", ".join(card.id for card in priced)
            raise DatasetError(f"model {name!r}: not among those with a price: {names}")
        chosen[card.id] = card
    return list(chosen.values())


def _by_session(p: Floats, sessions: Sequence[RecordedSession]) -> tuple[Floats, ...]:
    ends = np.cumsum([len(session.calls) for session in sessions])[:-1]
    return tuple(np.split(p, ends))


Scores = dict[str, tuple[float, int]]


def _scores_by_card(recording: Recording) -> dict[ModelCard, Scores]:
    """Sum and number of scores by task, for each model that can be billed."""
    found: dict[str, tuple[ModelCard, Scores]] = {}
    for (request_id, model), (total, n) in sorted(recording.successes.items()):
        card = _billable(card_for(model), model)
        if card is None:
            continue
        scores = found.setdefault(card.id, (card, {}))[1]
        known, n_known = scores.get(request_id, (0.0, 0))
        scores[request_id] = (known + total, n_known + n)
    return dict(found.values())


def _billable(card: ModelCard, name: str) -> ModelCard | None:
    if card.price is None:
        return None
    if card.snapshot:
        return card
    caching = "automatic" if card.price.cache_read is not None else "none"
    return replace(
        card,
        id=name,
        snapshot=name,
        context_window=card.context_window or _OLD_CONTEXT,
        max_output_tokens=card.max_output_tokens or _OLD_OUTPUT,
        capabilities=replace(card.capabilities, tools=True, caching=caching),
    )


def _shrunk(scores: Scores, request_id: str) -> float:
    total, n = (sum(values) for values in zip(*scores.values(), strict=True))
    mean = total / n
    task_total, task_n = scores.get(request_id, (0.0, 0))
    return float((task_total + PRIOR_TRIALS * mean) / (task_n + PRIOR_TRIALS))
