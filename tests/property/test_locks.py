"""Whatever a session went through, no model is admitted that can't read its prefix.

Sessions grow call by call: one of the admitted models answers, with thinking or a tool call or
both, and the client sends what follows. What is safe is told from who really said what.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from signed_sessions import NATIVE, Event, body

from router_model import formats
from router_model.catalog import Catalog, catalog_of
from router_model.constraints import admissible, needs_of
from router_model.locks import OWNER_UNKNOWN, Lock, lock_of
from router_model.outline import outline_of
from router_model.session_view import NO_SESSION, SessionView
from router_model.types import Capabilities, ModelCard, PriceCard, Request, WireFormat

PROVIDERS = ("anthropic", "openai", "google", "mistral", "acme")


@st.composite
def cards(draw: st.DrawFn, name: str) -> ModelCard:
    flags = draw(st.tuples(*(st.booleans() for _ in range(3))))
    return ModelCard(
        id=name,
        provider=draw(st.sampled_from(PROVIDERS)),
        snapshot=f"{name}-1",
        family=name,
        context_window=100_000,
        max_output_tokens=8_000,
        price=PriceCard(input=1.0, output=2.0),
        capabilities=Capabilities(
            tools=True,
            own_tool_ids_only=flags[0],
            ignores_foreign_thinking=flags[1],
            shares_thinking=flags[2],
        ),
    )


catalogs = st.tuples(*(cards(f"m{i}") for i in range(6))).map(
    lambda drawn: catalog_of(drawn, as_of="2026-11-23")
)


@dataclass(frozen=True)
class Call:
    """What the client sends, what is remembered, and what really went before."""

    request: Request
    session: SessionView
    events: Sequence[Event]
    last: ModelCard | None
    keeps_state: bool


def unsafe(card: ModelCard, call: Call) -> bool:
    """Whether a provider would refuse the call, by who really said what it holds."""
    said = [event for event in call.events if event.role == "assistant"]
    is_open = call.events[-1].role == "tool"
    if call.keeps_state:
        assert call.last is not None
        if card.provider != call.last.provider or (is_open and card.id != call.last.id):
            return True
        if call.last.provider == "google" and card.id != call.last.id:
            return True
        said = []
    starts = [i for i, event in enumerate(call.events) if event.role == "user"]
    turn = call.events[starts[-1] :] if is_open else []
    can = card.capabilities
    for event in said:
        is_own = event.provider == card.provider
        if can.own_tool_ids_only and event.call_id and not is_own:
            return True
        if not event.is_signed or event.model == card.id:
            continue
        reads = is_own and (can.shares_thinking or event not in turn)
        passes_over = can.ignores_foreign_thinking and event not in turn
        if not (reads or passes_over):
            return True
    return False


class Talk:
    """A session under way; `data` decides what happens."""

    def __init__(self, data: st.DataObject, dialect: WireFormat, catalog: Catalog) -> None:
        self.draw, self.dialect, self.catalog = data.draw, dialect, catalog
        self.events = [Event("user")]
        self.last: ModelCard | None = None
        self.n_calls = 0

    def call(self) -> Call:
        """What the client sends now. Where memory is lost it may name the model or not."""
        last = self.last
        native = NATIVE.get(self.dialect, "")
        keeps_state = last is not None and last.provider == native and self.draw(st.booleans())
        knows = self.draw(st.sampled_from(["memory", "name", "nothing"]))
        session = SessionView(model=last.id) if last and knows == "memory" else NO_SESSION
        request = self._sent(keeps_state)
        if last is not None and knows == "name":
            request = msgspec.structs.replace(request, requested_model=last.id)
        return Call(request, session, tuple(self.events), last, keeps_state)

    def _sent(self, keeps_state: bool) -> Request:
        events, fields = self.events, {}
        if keeps_state and self.dialect == WireFormat.OPENAI_RESPONSES:
            said = [i for i, event in enumerate(events) if event.role == "assistant"]
            events, fields = events[said[-1] + 1 :], {"previous_response_id": "resp_1"}
        elif keeps_state and self.dialect == WireFormat.GEMINI:
            fields = {"cachedContent": "cachedContents/1"}
        elif keeps_state:
            fields = {"container": "container_1"}
        sent = body(self.dialect, events, **fields)
        return formats.parse(sent, wire_format=self.dialect)

    def answer(self, card: ModelCard) -> None:
        """One of the models answers; then its tool, or the user, does."""
        native = NATIVE.get(self.dialect, card.provider)
        is_signed = card.provider == native and self.draw(st.booleans())
        calls = self.draw(st.booleans())
        self.n_calls += calls
        call_id = f"call_{self.n_calls}" if calls else ""
        said = Event("assistant", card.id, card.provider, is_signed, call_id)
        self.events += [said, Event("tool", call_id=call_id) if calls else Event("user")]
        self.last = card


def admitted(call: Call, catalog: Catalog) -> tuple[tuple[ModelCard, ...], Lock | None]:
    lock = lock_of(outline_of(call.request), call.session, catalog)
    needs = needs_of(outline_of(call.request), input_tokens=1_000)
    return admissible(tuple(catalog.models.values()), needs=needs, lock=lock)[0], lock


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from(WireFormat), catalogs)
def test_no_admitted_model_is_unsafe(
    data: st.DataObject, dialect: WireFormat, catalog: Catalog
) -> None:
    talk = Talk(data, dialect, catalog)
    for _ in range(data.draw(st.integers(1, 7))):
        call = talk.call()
        models, lock = admitted(call, catalog)
        if lock is not None and lock.kind == OWNER_UNKNOWN:
            # Nobody could tell: neither memory nor a name, or a name that the shapes contradict.
            assert call.session == NO_SESSION
            models = tuple(card for card in models if not unsafe(card, call))
        assert [card.id for card in models if unsafe(card, call)] == []
        if not models:
            return
        talk.answer(data.draw(st.sampled_from(models)))


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from(WireFormat), catalogs)
def test_who_answered_last_may_always_go_on(
    data: st.DataObject, dialect: WireFormat, catalog: Catalog
) -> None:
    talk = Talk(data, dialect, catalog)
    for _ in range(data.draw(st.integers(1, 7))):
        call = talk.call()
        if call.last is not None:
            call = replace(call, session=SessionView(model=call.last.id))
        models, _ = admitted(call, catalog)
        assert call.last is None or call.last in models
        talk.answer(data.draw(st.sampled_from(models)))
