"""Walks logged sessions with other choices, each call priced with the caches that they leave.

Only calls that were not routed are walked: their rows hold what the router would have decided, and
all that it takes to decide again along a session in which it had decided every call before.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from router_data.store import Store
from router_model.catalog import Catalog
from router_model.economics import Economics
from router_model.errors import LogError
from router_model.incumbent import NAME as INCUMBENT
from router_model.logged_candidates import candidate_of
from router_model.logged_decision import LoggedDecision, own_of, read
from router_model.replay import decided_again
from router_model.router import Router
from router_model.scoring import Asking, call_usd
from router_model.session_view import Prefix, SessionView
from router_model.types import Candidate
from router_model.warmth import COLD, lifetime_s, warmth_of
from router_training.savings_log import PaidCalls

Floats = NDArray[np.float64]
Progress = Callable[[int], None]
PAGE_ROWS: Final = 2_000
_PAGE = f"""
    select * from decisions
    where policy = '{INCUMBENT}' and dataset is null and (? is null or tenant = ?)
        and (tenant, decision_id) > (?, ?)
    order by tenant, decision_id limit ?
"""
_JSON = ("candidates", "excluded", "shadow", "situation")


class WalkedCall(Struct, frozen=True):
    """One call that was not routed: `used` answered it, `logged` is what the router decided.

    `logged` is None where the router had nothing to choose; `encoder` is that of its embedding.
    `tokens` and `output` are what each of the `options` would be billed for.
    """

    session: int
    ts_ms: int
    is_side_call: bool
    asking: Asking
    used: str
    logged: LoggedDecision | None
    encoder: str
    options: Mapping[str, Candidate]
    tokens: Mapping[str, int]
    output: Mapping[str, float]


Choose = Callable[[WalkedCall, SessionView], str]


class Walk(Struct, frozen=True):
    """The model and the US dollars of each call."""

    models: tuple[str, ...]
    usd: Floats


def walk(
    calls: Sequence[WalkedCall],
    choose: Choose,
    *,
    catalog: Catalog,
    economics: Economics,
    progress: Progress | None = None,
) -> Walk:
    """The calls, in the order of session and time, with the models that `choose` takes.

    It is given the session as it would be known: who answered last, and who has what in its cache.
    """
    caches = _Caches(catalog, economics)
    models, usd = [], []
    for call in calls:
        model = choose(call, caches.view(call))
        models.append(model)
        usd.append(caches.take(call, model))
        if progress is not None:
            progress(1)
    return Walk(tuple(models), np.array(usd))


class OwnChoice:
    """What a router chooses for a call of a session that it has decided so far.

    Where the row was made with another encoder or other features, the choice that was logged.
    """

    def __init__(self, router: Router) -> None:
        self._router = router

    def __call__(self, call: WalkedCall, session: SessionView) -> str:
        """The name of the model, one of the call's options."""
        logged = call.logged
        if logged is None:
            return call.used
        if call.encoder == self._router.encoder.hash:
            try:
                known = structs.replace(
                    logged.situation.session,
                    model=session.model,
                    turn=session.turn,
                    prefixes=session.prefixes,
                )
                return decided_again(logged, self._router, session=known)[0]
            except LogError:
                pass
        return logged.model if logged.model in call.options else call.used


class _Caches:
    """What each model saw last of the session that is being walked."""

    def __init__(self, catalog: Catalog, economics: Economics) -> None:
        self._catalog = catalog
        self._economics = economics
        self._session = -1
        self._model: str | None = None
        self._turn = 0
        self._held: dict[str, tuple[int, int, int]] = {}

    def view(self, call: WalkedCall) -> SessionView:
        """The session when the call arrives; a side call finds no prefix of its own."""
        if call.session != self._session:
            self._session, self._model, self._turn, self._held = call.session, None, 0, {}
        prefixes = {}
        if not call.is_side_call:
            prefixes = {
                model: Prefix(tokens=tokens, age_s=(call.ts_ms - then_ms) / 1_000.0, ttl_s=ttl_s)
                for model, (tokens, then_ms, ttl_s) in self._held.items()
            }
        return SessionView(model=self._model, turn=self._turn, prefixes=prefixes)

    def take(self, call: WalkedCall, model: str) -> float:
        """US dollars of the call if this model answers it; it holds the prefix afterwards."""
        card, tokens = self._catalog.models[model], call.tokens[model]
        warmth = COLD
        if not call.is_side_call:
            warmth = warmth_of(
                card,
                self.view(call).prefixes.get(model),
                input_tokens=tokens,
                facts=self._economics.cache_of(model),
                is_marked=call.asking.is_marked,
            )
            self._held[model] = tokens, call.ts_ms, lifetime_s(card, call.asking.cache_ttl_s)
            self._model, self._turn = model, self._turn + 1
        return call_usd(
            card, call.asking, warmth, input_tokens=tokens, output_tokens=call.output[model]
        )


def walked_calls(
    state: Path, kept: PaidCalls, *, tenant: str | None, catalog: Catalog, economics: Economics
) -> list[WalkedCall | None]:
    """The calls in the order of `kept`, None where the catalog in use lacks the model that served.

    Other models are taken to bill input in the proportion of the learned token ratios, and output
    in that of the predicted lengths.
    """
    keys = zip(kept.tenant.tolist(), kept.decision_id.tolist(), strict=True)
    place = {key: row for row, key in enumerate(keys)}
    found: list[WalkedCall | None] = [None] * kept.n
    with Store(state) as store:
        for record in _records(store, tenant):
            row = place.get((record["tenant"], record["decision_id"]))
            if row is not None:
                found[row] = _call(kept, row, record, catalog, economics)
    return found


def _records(store: Store, tenant: str | None) -> Iterator[dict[str, Any]]:
    after = ("", "")
    while True:
        page = store.query(_PAGE, [tenant, tenant, *after, PAGE_ROWS])
        for row in page:
            yield row | {name: msgspec.json.decode(row[name] or b"null") for name in _JSON}
        if len(page) < PAGE_ROWS:
            return
        after = (page[-1]["tenant"], page[-1]["decision_id"])


def _call(
    kept: PaidCalls, row: int, record: Mapping[str, Any], catalog: Catalog, economics: Economics
) -> WalkedCall | None:
    """One logged call; None where its row can't be used."""
    used = catalog.resolve(kept.model[row])
    try:
        candidates = [candidate_of(entry) for entry in record["candidates"] or ()]
        own = own_of(record)
        logged = None if own["model"] is None else read(own)
        asking = msgspec.convert((record["situation"] or {}).get("asking") or {}, Asking)
    except (LogError, msgspec.ValidationError):
        return None
    options = {c.model: c for c in candidates if c.model in catalog.models}
    if used is None or used.id not in options:
        return None
    mine = options[used.id]
    billed, written = kept.input_tokens[row], kept.output_tokens[row]
    tokens = billed if math.isfinite(billed) and billed > 0 else mine.input_tokens
    output = written if math.isfinite(written) else mine.output_tokens
    ratio = economics.token_ratio_of(used.id)
    return WalkedCall(
        session=int(kept.session[row]),
        ts_ms=int(kept.ts_ms[row]),
        is_side_call=bool(kept.is_side_call[row]),
        asking=asking,
        used=used.id,
        logged=logged,
        encoder=record["encoder"] or "",
        options=options,
        tokens={m: max(1, round(tokens * economics.token_ratio_of(m) / ratio)) for m in options},
        output={m: output * _longer(c, mine) for m, c in options.items()},
    )


def _longer(candidate: Candidate, mine: Candidate) -> float:
    """How much longer one model's answer is expected to be than another's."""
    return candidate.output_tokens / mine.output_tokens if mine.output_tokens > 0 else 1.0
