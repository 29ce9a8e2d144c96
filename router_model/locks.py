"""Says which models may answer a call whose prefix holds what one provider keeps or signed.

A provider's kept state is of use with that provider only, and its own model has to take the result
of the tool call that it made; Gemini keeps cached content for one model alone. Signed thinking and
encrypted reasoning are verified by who signed them. Inside an open tool loop they belong to the
answer that is still being made: the same model has to go on, or one of its provider that reads
them (`shares_thinking`). In earlier, closed turns any model of the provider takes them, and any
that passes over them (`ignores_foreign_thinking`). Ids of tool calls bind only the models that
refuse ids of another provider (`own_tool_ids_only`).

Whose they are is known from the session's memory; without it the requested model is taken for the
owner, and the shape of what was signed for its provider. Where these contradict each other, say
nothing, or name what can't be chosen, only models that are safe whoever the owner is are kept. If
there is none, the lock is `OWNER_UNKNOWN`: it keeps the providers that come into question, and
where the catalog has none of them either it excludes nothing, so that the call is still served.
"""

from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from router_model.catalog import Catalog
from router_model.outline import Outline
from router_model.session_view import SessionView
from router_model.types import ModelCard

Kind = Literal["provider_state", "signed", "tool_ids", "lock_owner_unknown"]
PROVIDER_STATE: Final = "provider_state"
SIGNED: Final = "signed"
TOOL_IDS: Final = "tool_ids"
OWNER_UNKNOWN: Final = "lock_owner_unknown"
_GOOGLE: Final = "google"


class Lock(Struct, frozen=True, kw_only=True, gc=False):
    """What ties a call, and the ids of the `models` that may answer it.

    `provider` and `model` own what ties it, "" where unknown; `model` only where one model has to
    go on. An `OWNER_UNKNOWN` lock without `models` excludes nothing. `foreign_ids` says which of
    the `own_tool_ids_only` models are kept out by ids of tool calls, and `detail` why, in words.
    """

    kind: Kind
    detail: str
    provider: str = ""
    model: str = ""
    models: frozenset[str] = frozenset()
    foreign_ids: frozenset[str] = frozenset()

    @property
    def reason(self) -> str:
        """What a decision says of it, as "kind: detail"."""
        return f"{self.kind}: {self.detail}"

    @property
    def is_tied(self) -> bool:
        """True where the call continues what one model or provider began: no place to explore."""
        return self.kind != TOOL_IDS


class _Owner(Struct, frozen=True, gc=False):
    """Who owns what is in the prefix, as far as it is known.

    `card` None: the model is not known; `provider` "": nor is the provider, which may be one of
    `suspects`. `is_mixed`: another provider than the owner's may have signed parts of it too; a
    model that passes over foreign thinking may have answered after it.
    """

    card: ModelCard | None
    provider: str
    suspects: frozenset[str]
    is_mixed: bool


def lock_of(outline: Outline, session: SessionView, catalog: Catalog) -> Lock | None:
    """What ties the call; None where it is free, as every call without such a prefix is.

    >>> from router_model.catalog import catalog_of
    >>> from router_model.session_view import NO_SESSION
    >>> catalog = catalog_of([], as_of="2026-11-23")
    >>> lock_of(Outline(opening=""), NO_SESSION, catalog)
    >>> lock_of(Outline(opening="", has_provider_state=True), NO_SESSION, catalog).kind
    'lock_owner_unknown'
    """
    cards = [card for card in catalog.models.values() if card.enabled and card.price is not None]
    may_refuse_ids = any(card.capabilities.own_tool_ids_only for card in cards)
    # What a provider keeps may hold calls that the body doesn't show.
    may_hold_ids = outline.has_provider_state or outline.has_call_ids
    has_ids = may_refuse_ids and may_hold_ids
    if not (outline.has_provider_state or outline.is_signed or has_ids):
        return None
    owner = _owner(outline, session, catalog, cards)
    is_tied = outline.has_provider_state or outline.is_signed
    lock = _tie(outline, owner, cards) if is_tied else None
    return _with_ids(lock, owner, cards) if has_ids else lock


def locked_out(card: ModelCard, lock: Lock | None) -> str | None:
    """Why the lock keeps this model from the call, as "locked: detail"; None where it doesn't."""
    if lock is None:
        return None
    if lock.models and card.id not in lock.models:
        return f"locked: {lock.detail}"
    if card.id in lock.foreign_ids:
        return "locked: refuses ids of tool calls that another provider may have made"
    return None


def _owner(
    outline: Outline, session: SessionView, catalog: Catalog, cards: Sequence[ModelCard]
) -> _Owner:
    """The session's last model; else the requested one and the shapes, where they agree."""
    sold = {card.provider for card in cards}
    shown = frozenset(provider if provider in sold else "" for provider in outline.tied_to)
    if session.model is not None:
        known = catalog.get(session.model)
        if known is not None:
            suspects = (shown | {known.provider}) - {""}
            return _Owner(known, known.provider, suspects, _is_mixed(known, shown))
    # A session's model that left the catalog was not the requested one that is still there.
    asked = catalog.resolve(outline.requested_model) if session.model is None else None
    suspects = (shown if asked is None else shown | {asked.provider}) - {""}
    if len(suspects) != 1:
        return _Owner(None, "", suspects, True)
    is_mixed = "" in shown if asked is None else _is_mixed(asked, shown)
    return _Owner(asked, next(iter(suspects)), suspects, is_mixed)


def _is_mixed(card: ModelCard, shown: frozenset[str]) -> bool:
    """False where all that was signed has the card's own shape, or it could not have answered."""
    if card.capabilities.ignores_foreign_thinking:
        return shown != {card.provider}
    return bool(shown - {card.provider, ""})


def _tie(outline: Outline, owner: _Owner, cards: Sequence[ModelCard]) -> Lock:
    has_state, is_signed = outline.has_provider_state, outline.is_signed
    goes_on = outline.is_in_tool_loop and (has_state or outline.is_open_turn_signed)
    is_of_one = has_state and _GOOGLE in outline.tied_to
    safe = frozenset(
        card.id
        for card in cards
        if (not has_state or _has_state_of(card, owner, is_of_one=goes_on or is_of_one))
        and (not is_signed or _takes_signed(card, owner, goes_on=goes_on))
    )
    what = "state that the provider keeps" if has_state else "signed thinking"
    what += " in an open tool loop" if goes_on else ""
    if not safe:
        return _unknown(owner, cards, what)
    model = owner.card.id if owner.card is not None and (goes_on or is_of_one) else ""
    return Lock(
        kind=PROVIDER_STATE if has_state else SIGNED,
        detail=f"{what}, of {model or owner.provider or 'an unknown provider'}",
        provider=owner.provider,
        model=model,
        models=safe,
    )


def _has_state_of(card: ModelCard, owner: _Owner, *, is_of_one: bool) -> bool:
    if is_of_one:
        return owner.card is not None and card.id == owner.card.id
    return card.provider == owner.provider


def _takes_signed(card: ModelCard, owner: _Owner, *, goes_on: bool) -> bool:
    if owner.card is not None and card.id == owner.card.id:
        return True
    is_same = card.provider == owner.provider and not owner.is_mixed
    if goes_on:
        return is_same and card.capabilities.shares_thinking
    return is_same or card.capabilities.ignores_foreign_thinking


def _unknown(owner: _Owner, cards: Sequence[ModelCard], what: str) -> Lock:
    """The lock where no model is safe for sure: the providers in question, or no bar at all."""
    whose = "is not known" if owner.card is None else f"{owner.card.id} can't be chosen"
    suspects = " or ".join(sorted(owner.suspects))
    return Lock(
        kind=OWNER_UNKNOWN,
        detail=f"{what}, whose owner {whose}" + (f", of {suspects}" if suspects else ""),
        provider=owner.provider,
        models=frozenset(card.id for card in cards if card.provider in owner.suspects),
    )


def _with_ids(lock: Lock | None, owner: _Owner, cards: Sequence[ModelCard]) -> Lock | None:
    """The lock with the models that refuse the ids in the prefix.

    All ids are surely a provider's own only where who answered last refuses others itself. Where
    nobody knows who that was, they keep no model out if that would leave none.
    """
    last = owner.card
    home = last.provider if last is not None and last.capabilities.own_tool_ids_only else ""
    refusing = frozenset(
        card.id for card in cards if card.capabilities.own_tool_ids_only and card.provider != home
    )
    left = frozenset(card.id for card in cards)
    if lock is not None and lock.models:
        left = lock.models
    if not refusing:
        return lock
    if last is None and left <= refusing:
        detail = f"ids of tool calls, whose owner is not known{f'; {lock.detail}' if lock else ''}"
        return Lock(kind=OWNER_UNKNOWN, detail=detail, models=lock.models if lock else frozenset())
    if lock is not None:
        return replace(lock, foreign_ids=refusing)
    return Lock(
        kind=TOOL_IDS,
        detail=f"ids of tool calls, last answered by {owner.provider or 'an unknown provider'}",
        provider=owner.provider,
        foreign_ids=refusing,
    )
