"""Plays policies over recorded sessions, every call billed by `session_ledger`.

What the session asked next and how long the answers were is taken as it was recorded, whichever
model answers in the replay, and its tokens are those of the model that was recorded.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from router_model.catalog import Catalog
from router_model.constraints import admissible, needs_of
from router_model.errors import DatasetError
from router_model.locks import Lock, lock_of, locked_out
from router_model.outline import Outline, outline_of
from router_model.session_view import SessionView
from router_model.types import ModelCard, StepType
from router_training.recorded_sessions import RecordedCall, RecordedSession
from router_training.session_ledger import Ledger, bill_microusd

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Rule(Struct, frozen=True, kw_only=True):
    """Which model is adequate for a call: p >= `min_adequacy`, or without one what costs least.

    Without a threshold a failure costs `failure_cost_usd`, in a side call `side_call_...`.
    """

    min_adequacy: float | None = None
    failure_cost_usd: float = 0.25
    side_call_failure_cost_usd: float = 0.001

    def failure_usd(self, p: float, *, is_side_call: bool) -> float:
        """Expected cost of an inadequate answer in US dollars."""
        cost = self.side_call_failure_cost_usd if is_side_call else self.failure_cost_usd
        return (1.0 - p) * cost


class Turn(Struct, frozen=True, kw_only=True):
    """One call as a policy sees it.

    `p` has one entry a card. `able` are the places of the cards that the call's needs admit, and
    `free` those of them that its lock admits too. `output_tokens` is how long the answer is
    expected to be: what it was is billed, but known to nobody before.
    """

    call: RecordedCall
    view: SessionView
    cards: Sequence[ModelCard]
    p: Floats
    output_tokens: int
    able: tuple[int, ...]
    free: tuple[int, ...]
    lock: Lock | None
    rule: Rule
    ledger: Ledger

    @property
    def is_side_call(self) -> bool:
        """True where the call is no part of the main conversation."""
        return self.call.step_type.is_side_call

    def adequate(self, places: Sequence[int]) -> tuple[int, ...]:
        """Those of `places` that are adequate; the highest p alone where none is."""
        threshold = self.rule.min_adequacy
        found = tuple(m for m in places if threshold is None or self.p[m] >= threshold)
        return found or (max(places, key=lambda m: (self.p[m], self.cards[m].id)),)

    def penalty(self, place: int) -> float:
        """What failing is expected to cost, where that is weighed; 0 under a threshold."""
        if self.rule.min_adequacy is not None:
            return 0.0
        return self.rule.failure_usd(float(self.p[place]), is_side_call=self.is_side_call)


Policy = Callable[[Turn], int]


class Played(Struct, frozen=True, kw_only=True):
    """What one policy did, one entry a call.

    `cost_microusd` is the bill, `failure_usd` the expected cost of failing beside it. A switch
    leaves the model of the call before in the main conversation; it is unsafe where what ties the
    call (`locks`) keeps the new model out.
    """

    session: Ints
    model: Ints
    cost_microusd: Ints
    input_tokens: Ints
    cached_tokens: Ints
    p: Floats
    failure_usd: Floats
    is_adequate: NDArray[np.bool_]
    is_switch: NDArray[np.bool_]
    is_unsafe: NDArray[np.bool_]
    is_in_tool_loop: NDArray[np.bool_]


class Prepared(Struct, frozen=True, kw_only=True):
    """Sessions with everything that does not depend on the policy.

    `p`, `outlines` and `able` have one entry a session: P(adequate) by (call, card), and for every
    call its outline and the places of the cards that its needs admit. `output_tokens` is the mean
    length of an answer by step type, which is all that policies know of it.
    """

    sessions: tuple[RecordedSession, ...]
    catalog: Catalog
    p: tuple[Floats, ...]
    outlines: tuple[tuple[Outline, ...], ...]
    able: tuple[tuple[tuple[int, ...], ...], ...]
    output_tokens: Mapping[StepType, int]
    rule: Rule

    @property
    def cards(self) -> tuple[ModelCard, ...]:
        """The models that are chosen among."""
        return tuple(self.catalog.models.values())


def prepare(
    sessions: Sequence[RecordedSession], catalog: Catalog, p: Sequence[Floats], *, rule: Rule
) -> Prepared:
    """Sessions ready to be replayed; `p` is by session, then by (call, model of the catalog).

    Raises DatasetError where a call is admitted by no model.
    """
    cards = tuple(catalog.models.values())
    place = {card.id: index for index, card in enumerate(cards)}
    outlines = tuple(
        tuple(outline_of(call.request) for call in session.calls) for session in sessions
    )
    able = []
    for session, outlined in zip(sessions, outlines, strict=True):
        by_call = []
        for number, (call, outline) in enumerate(zip(session.calls, outlined, strict=True)):
            needs = needs_of(outline, input_tokens=call.input_tokens)
            admitted, reasons = admissible(cards, needs=needs)
            if not admitted:
                model, reason = next(iter(reasons.items()))
                raise DatasetError(
                    f"session {session.id}, call {number}: none of {len(cards)} models takes it; "
                    f"{model}: {reason}"
                )
            by_call.append(tuple(place[card.id] for card in admitted))
        able.append(tuple(by_call))
    return Prepared(
        sessions=tuple(sessions),
        catalog=catalog,
        p=tuple(p),
        outlines=outlines,
        able=tuple(able),
        output_tokens=_mean_output_tokens(sessions),
        rule=rule,
    )


def _mean_output_tokens(sessions: Sequence[RecordedSession]) -> dict[StepType, int]:
    by_step: dict[StepType, list[int]] = {}
    for session in sessions:
        for call in session.calls:
            by_step.setdefault(call.step_type, []).append(call.output_tokens)
    return {step: round(float(np.mean(tokens))) for step, tokens in by_step.items()}


def with_provider_state(sessions: Sequence[RecordedSession]) -> tuple[RecordedSession, ...]:
    """The sessions as if the provider kept the state of every open tool loop."""
    return tuple(
        replace(session, calls=tuple(_with_state(call) for call in session.calls))
        for session in sessions
    )


def _with_state(call: RecordedCall) -> RecordedCall:
    if call.step_type is not StepType.TOOL_RESULT:
        return call
    return replace(call, request=replace(call.request, has_provider_state=True))


def play(prepared: Prepared, policy: Policy) -> Played:
    """The bill of a policy over all sessions."""
    return play_each(prepared, (policy,) * len(prepared.sessions))


def play_each(prepared: Prepared, policies: Sequence[Policy]) -> Played:
    """The bill of one policy a session."""
    rows: list[tuple[float, ...]] = []
    for number, policy in enumerate(policies):
        rows += _play_session(prepared, number, policy)
    columns: Mapping[str, Floats] = dict(zip(_COLUMNS, np.array(rows).T, strict=True))
    return Played(**{name: values.astype(_TYPES[name]) for name, values in columns.items()})


_TYPES: Final = {
    **dict.fromkeys(("session", "model", "cost_microusd"), np.int64),
    **dict.fromkeys(("input_tokens", "cached_tokens"), np.int64),
    **dict.fromkeys(("p", "failure_usd"), np.float64),
    **dict.fromkeys(("is_adequate", "is_switch", "is_unsafe", "is_in_tool_loop"), np.bool_),
}
_COLUMNS: Final = tuple(_TYPES)


def _play_session(prepared: Prepared, number: int, policy: Policy) -> list[tuple[float, ...]]:
    session, cards, ledger = prepared.sessions[number], prepared.cards, Ledger()
    previous: str | None = None
    n_main = 0
    rows: list[tuple[float, ...]] = []
    for index, call in enumerate(session.calls):
        ledger.arrive(call)
        view = SessionView(model=previous, turn=n_main, prefixes=ledger.prefixes())
        turn = _turn(prepared, number, index, view, ledger)
        chosen = policy(turn)
        card = cards[chosen]
        usage = ledger.take(card, call)
        p = float(turn.p[chosen])
        is_main = not turn.is_side_call
        is_switch = is_main and previous not in (None, card.id)
        threshold = prepared.rule.min_adequacy
        rows.append(
            (
                number,
                chosen,
                bill_microusd(card, usage, service_tier=call.request.service_tier),
                usage.input_tokens,
                usage.cached_tokens,
                p,
                prepared.rule.failure_usd(p, is_side_call=turn.is_side_call),
                threshold is None or p >= threshold,
                is_switch,
                is_switch and locked_out(card, turn.lock) is not None,
                is_switch and prepared.outlines[number][index].is_in_tool_loop,
            )
        )
        if is_main:
            previous, n_main = card.id, n_main + 1
    return rows


def _turn(prepared: Prepared, number: int, index: int, view: SessionView, ledger: Ledger) -> Turn:
    call, cards = prepared.sessions[number].calls[index], prepared.cards
    able = prepared.able[number][index]
    lock = lock_of(prepared.outlines[number][index], view, prepared.catalog)
    free = able if lock is None else tuple(m for m in able if locked_out(cards[m], lock) is None)
    return Turn(
        call=call,
        view=view,
        cards=cards,
        p=prepared.p[number][index],
        output_tokens=prepared.output_tokens[call.step_type],
        able=able,
        free=free or able,
        lock=lock,
        rule=prepared.rule,
        ledger=ledger,
    )
