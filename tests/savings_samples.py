"""Live calls with bills, made by hand or drawn."""

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router_training.savings_log import PaidCalls

N_CALLS = 6


def calls_of(session: NDArray[np.int64], **changes: Any) -> PaidCalls:
    """Calls of these sessions, a second apart, routed for one cent and adequate, unless changed."""
    n = len(session)
    usual: dict[str, Any] = {
        "tenant": np.full(n, "acme", dtype=object),
        "decision_id": np.array([f"d{i}" for i in range(n)], dtype=object),
        "session": session,
        "ts_ms": 1_000 * np.arange(n, dtype=np.int64),
        "is_side_call": np.zeros(n, dtype=bool),
        "model": np.full(n, "small", dtype=object),
        "is_routed": np.ones(n, dtype=bool),
        "share": np.full(n, 0.5),
        "paid_usd": np.full(n, 0.01),
        "is_billed": np.ones(n, dtype=bool),
        "adequate": np.ones(n),
        "input_tokens": np.full(n, 1_000.0),
        "output_tokens": np.full(n, 100.0),
        "took_us": np.full(n, 1_800.0),
        "exploring_usd": np.zeros(n),
    }
    return PaidCalls(**{**usual, **changes})


def with_draws(seed: int, *, n_sessions: int, share: float, level: float = 1.0) -> PaidCalls:
    """Sessions of 6 calls dealt out by chance: 2 cents a call, 1 when routed; 5% fewer adequate.

    Bills have a log-normal level (sigma 1) of each session, adequacy a level of its own: .9 or .85
    on average, .1 more or less by session.
    """
    rng = np.random.default_rng(seed)
    session = np.repeat(np.arange(n_sessions, dtype=np.int64), N_CALLS)
    is_routed = (rng.random(n_sessions) < share)[session]
    of_session = rng.lognormal(-0.5, 1.0, n_sessions)[session]
    noise = rng.lognormal(-0.125, 0.5, len(session))
    p = np.where(is_routed, 0.85, 0.9) + rng.choice([-0.1, 0.1], n_sessions)[session]
    return calls_of(
        session,
        is_routed=is_routed,
        share=np.full(len(session), share),
        paid_usd=level * np.where(is_routed, 0.01, 0.02) * of_session * noise,
        adequate=(rng.random(len(session)) < p).astype(np.float64),
    )


def paid_calls(*parts: PaidCalls) -> PaidCalls:
    """Several logs as one, the sessions of each being others."""
    columns: dict[str, Any] = {
        one.name: np.concatenate([getattr(part, one.name) for part in parts])
        for one in fields(PaidCalls)
    }
    firsts = np.cumsum([0, *(int(part.session.max()) + 1 for part in parts)])
    columns["session"] = np.concatenate(
        [part.session + first for part, first in zip(parts, firsts, strict=False)]
    )
    return PaidCalls(**columns)
