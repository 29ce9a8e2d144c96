"""What this process remembers of the sessions it routes: who answered, and what is still warm.

For each session: the model that answered last, the turn, a pinned model, and for each model used
what its provider saw last, with what the bills taught. A decision is taken as carried out until its
outcome says which model really served and what was billed.

It is the memory of one process. A restart or an eviction loses a session: it is shown as lost, its
caches count as cold, its pin is gone, locks and turns are found from the request alone. Another
worker never had it. Outcomes of decisions made before a restart teach nothing here.

Times are seconds of one monotonic clock; only the event loop's thread may call.
"""

from collections import OrderedDict
from typing import Final

from msgspec import Struct

from router_model.catalog import Catalog
from router_model.outline import Outline
from router_model.session_view import NO_SESSION, SessionView
from router_model.types import Decision, ModelCard, Outcome, StepType, Usage
from router_serving.frames import FrameKey, FrameMemory, frame_of
from router_serving.prefixes import (
    HeldPrefix,
    is_plausible,
    left_by,
    left_tokens,
)

SESSION_TTL_S: Final = 24 * 3600.0
"""A session that nobody used for a day is forgotten, and its pin with it."""

MAX_PREFIXES: Final = 16
"""Models remembered for one session; the one used longest ago goes first."""

_Key = tuple[str, str]


class _Session(Struct):
    """One session; `latest` is the decision of its latest turn, `begun_s` when it began."""

    used_s: float
    begun_s: float
    model: str | None = None
    turn: int = 0
    pin: str | None = None
    latest: str = ""
    prefixes: dict[str, HeldPrefix] = {}


class _Open(Struct):
    """A decision whose bill has not come yet: what it left, and what was there before it.

    `model` is the one that is taken to have served, unless the call failed so far (`is_done`).
    """

    session: _Key
    model: str | None
    tokens: int
    estimated_tokens: int
    is_marked: bool
    asked_ttl_s: int | None
    used_s: float
    frame: FrameKey | None
    model_before: str | None
    left: HeldPrefix | None = None
    before: HeldPrefix | None = None
    is_done: bool = False


class SessionMemory:
    """The sessions used last, at most `max_entries` of them, and as many open decisions."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._sessions: OrderedDict[_Key, _Session] = OrderedDict()
        self._open: OrderedDict[_Key, _Open] = OrderedDict()
        self._frames = FrameMemory()

    def __len__(self) -> int:
        return len(self._sessions)

    def view(
        self,
        tenant: str,
        session: str,
        outline: Outline,
        *,
        now_s: float,
        step_type: StepType = StepType.MAIN,
    ) -> SessionView:
        """The session as a decision for this call sees it.

        A side call has a prefix of its own, so it finds none of the session's; only a compaction
        that continues the conversation, not one that quotes it, reads what that left. A model which
        the session has not used may hold what other sessions of the tenant with the same tools
        left there.
        """
        found = self._find((tenant, session), now_s)
        is_compaction = step_type is StepType.COMPACTION and outline.continues
        is_shared = is_compaction or not step_type.is_side_call
        frames = self._frames.seen(frame_of(tenant, outline) if is_shared else None, now_s)
        if found is None:
            lost = outline.continues
            if not lost and not frames:
                return NO_SESSION
            return SessionView(prefixes=frames, turn=outline.n_assistant_messages, is_lost=lost)
        held = {
            model: prefix.seen(now_s, is_shared=is_shared)
            for model, prefix in found.prefixes.items()
        }
        return SessionView(
            model=found.model, turn=found.turn, prefixes=frames | held, pin=found.pin
        )

    def remember(
        self,
        decision: Decision,
        outline: Outline,
        card: ModelCard | None,
        *,
        tenant: str,
        session: str,
        now_s: float,
        estimated_tokens: int | None = None,
        pin_session: bool | None = None,
    ) -> None:
        """Take note that the call goes to `card`; a side call changes nothing.

        None is a model that the catalog does not know: nobody's cache is warm from it.
        `estimated_tokens` is the size of the call before any correction for the model, by
        default the decision's. `pin_session` True pins the session to this model unless it is
        pinned already, False ends that.
        """
        if decision.step_type.is_side_call or self._max_entries == 0:
            return
        key, model = (tenant, session), None if card is None else card.id
        found = self._find(key, now_s)
        if found is None:
            found = self._sessions[key] = _Session(now_s, now_s)
        if pin_session is not None:
            found.pin = (found.pin or model) if pin_session else None
        tokens = decision.expected.input_tokens
        opened = _Open(
            session=key,
            model=model,
            tokens=tokens,
            estimated_tokens=tokens if estimated_tokens is None else estimated_tokens,
            is_marked=outline.n_cache_markers > 0,
            asked_ttl_s=outline.cache_ttl_s,
            used_s=now_s,
            frame=frame_of(tenant, outline),
            model_before=found.model,
        )
        found.used_s, found.latest = now_s, decision.decision_id
        _carry_out(found, opened, card, decision.decision_id)
        if model is not None:
            self._frames.touch(opened.frame, model, now_s)
        self._sessions.move_to_end(key)
        self._open[(tenant, decision.decision_id)] = opened
        self._forget(now_s)

    def observe(self, outcome: Outcome, *, tenant: str, catalog: Catalog) -> None:
        """Correct what is remembered by what really happened to a call.

        A failed attempt leaves nothing; with a fallback, the model that served leaves its prefix.
        The first bill that comes for a decision counts, later ones change nothing; if it can't
        be that of such a call, nothing is learned. A name that the catalog does not know leaves the
        session without a last model.
        """
        key = (tenant, outcome.decision_id)
        opened = self._open.get(key)
        found = None if opened is None else self._sessions.get(opened.session)
        # A session that was forgotten and came back knows nothing of the calls before.
        if opened is None or found is None or opened.used_s < found.begun_s:
            return
        card = catalog.resolve(outcome.model)
        served = None if card is None else card.id
        has_failed = outcome.error is not None and outcome.usage is None
        if served != opened.model and not has_failed:
            _undo(found, opened, outcome.decision_id)
            _carry_out(found, opened, card, outcome.decision_id)
        elif has_failed and served == opened.model:
            _undo(found, opened, outcome.decision_id)
        elif not has_failed and not opened.is_done:
            _carry_out(found, opened, card, outcome.decision_id)
        if outcome.usage is not None and outcome.usage.input_tokens > 0:
            del self._open[key]
            if not is_plausible(outcome.usage, estimated_tokens=opened.estimated_tokens):
                return
            _bill(found, opened, card, outcome.usage)
            if card is not None and opened.before is None and opened.left is not None:
                self._frames.learn(opened.frame, card.id, outcome.usage, opened.left)

    def _find(self, key: _Key, now_s: float) -> _Session | None:
        found = self._sessions.get(key)
        return None if found is None or now_s - found.used_s >= SESSION_TTL_S else found

    def _forget(self, now_s: float) -> None:
        """Drop what is too old or too much; sessions are in the order of their last use."""
        while self._sessions:
            key, oldest = next(iter(self._sessions.items()))
            is_old = now_s - oldest.used_s >= SESSION_TTL_S
            if not is_old and len(self._sessions) <= self._max_entries:
                break
            del self._sessions[key]
        while len(self._open) > self._max_entries:
            self._open.popitem(last=False)


def _carry_out(session: _Session, opened: _Open, card: ModelCard | None, decision_id: str) -> None:
    """The call went to `card`: that is the turn's model, and holds the prefix from now on."""
    session.turn += 1
    opened.is_done = True
    opened.model = None if card is None else card.id
    if session.latest == decision_id:
        session.model = opened.model
    if card is None:
        return
    opened.before = session.prefixes.pop(card.id, None)
    opened.left = left_by(
        card,
        opened.before,
        tokens=opened.tokens,
        is_marked=opened.is_marked,
        asked_ttl_s=opened.asked_ttl_s,
        now_s=opened.used_s,
    )
    is_newer = opened.before is not None and opened.before.used_s > opened.used_s
    held = opened.before if is_newer and opened.before is not None else opened.left
    session.prefixes[card.id] = held
    if len(session.prefixes) > MAX_PREFIXES:
        del session.prefixes[next(iter(session.prefixes))]


def _undo(session: _Session, opened: _Open, decision_id: str) -> None:
    """The call did not go to the model that it was taken to go to."""
    if not opened.is_done:
        return
    session.turn -= 1
    opened.is_done = False
    if session.latest == decision_id:
        session.model = opened.model_before
    model, left = opened.model, opened.left
    if model is not None and left is not None and session.prefixes.get(model) is left:
        del session.prefixes[model]
        if opened.before is not None:
            session.prefixes[model] = opened.before
    opened.left = opened.before = None


def _bill(session: _Session, opened: _Open, card: ModelCard | None, usage: Usage) -> None:
    """Put the billed tokens for the estimated ones, and learn from them.

    A later call may have been decided meanwhile: then its size stays, and it learns the rest.
    """
    left = opened.left
    held = None if card is None else session.prefixes.get(card.id)
    if left is None or held is None or card is None:
        return
    held.learn(
        usage, estimated_tokens=opened.estimated_tokens, expected_tokens=left.expected_tokens
    )
    before = opened.before
    if before is not None and before.is_billed and usage.cached_tokens > before.tokens > 0:
        held.keeps_answers = True
    if held is left:
        sent = left_tokens(card, usage.input_tokens, is_marked=opened.is_marked)
        held.tokens = sent + (usage.output_tokens if sent and held.keeps_answers else 0)
        held.is_billed = True
