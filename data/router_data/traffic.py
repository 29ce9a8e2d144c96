"""Simulated traffic through a real router: the log that a service would have left."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs
from numpy.typing import NDArray
from tqdm import trange

from router_data.log import SEGMENTS, SegmentWriter
from router_data.playthrough import Playthrough, Report
from router_data.progress import hidden
from router_data.rows import decision_row, outcome_row, shadow_row
from router_data.simulator import World
from router_model import formats
from router_model.catalog import catalog_of
from router_model.errors import DatasetError, NoAdmissibleModelError
from router_model.incumbent import NAME as INCUMBENT
from router_model.outline import request_hash
from router_model.router import Router
from router_model.scoring import asking_of, logged_situation
from router_model.terms import NO_TERMS, Terms
from router_model.types import Caller, Decision, PolicyOverrides, WireFormat

NO_OVERRIDES = PolicyOverrides()
Row = dict[str, Any]
_BATCH = 500
# What a decision is taken to cost the machine, so that reports can be net of it.
_TOOK_US = 2_000


@dataclass(frozen=True, slots=True)
class Kept:
    """While a router is adopted: `share` of the sessions is routed, others keep `model`.

    Sessions are dealt out by a draw of their own, from `seed`.
    """

    share: float
    model: str
    seed: int = 0

    def arm(self, session: str) -> str:
        """The arm of a session: "router" or "incumbent"."""
        digest = hashlib.blake2b(f"{self.seed}:{session}".encode(), digest_size=8).digest()
        is_routed = int.from_bytes(digest, "big") < self.share * 2**64
        return "router" if is_routed else "incumbent"


@dataclass(frozen=True, slots=True)
class LogReport:
    """What was logged: decisions, outcomes, and requests that no model was admissible for.

    Decisions without an outcome are those whose outcome never came back.
    """

    n_decisions: int
    n_outcomes: int
    n_refused: int = 0


def log_traffic(
    world: World,
    state: Path,
    *,
    router: Router,
    caller: Caller | None = None,
    overrides: PolicyOverrides = NO_OVERRIDES,
    terms: Terms = NO_TERMS,
    kept: Kept | None = None,
    billed: float | None = None,
    progress: bool = False,
) -> LogReport:
    """Decide the world's requests one after the other, and log what a service would have logged.

    Without a `caller` it is the world's own tenant and key. `terms` carry what settings ask, such
    as exploration; `kept` says which sessions keep a model of their own, `billed` the share of
    calls with a bill (see `Playthrough`). Requests without an
    admissible model are left out. The outcome is known where the chosen model is one of the
    world's, so give these names of the router's catalog and allow only them (`router_for` does).
    Agents' sessions have caches: the router is told what each model has warm, and the true length
    of the prefix, which its features see scaled down. The rows count as the tenant's own, in its
    spending too: keep them out of a real state folder.
    """
    play = Playthrough(world, billed=billed)
    n_refused = n_outcomes = 0
    batches: list[Row] = []
    with SegmentWriter(state / "log" / SEGMENTS, "simulated") as writer:
        steps = trange(world.n_requests, desc="simulate", unit="call", disable=hidden(progress))
        for index in steps:
            asking = caller or caller_of(world, index)
            try:
                row = _decided(
                    play,
                    index,
                    router=router,
                    caller=asking,
                    overrides=overrides,
                    terms=terms,
                    kept=kept,
                )
            except NoAdmissibleModelError:
                n_refused += 1
                continue
            reported = _observed(play, index, row)
            n_outcomes += len(reported)
            batches += [row, *reported]
            if len(batches) >= _BATCH:
                writer.append(batches)
                batches = []
        writer.append(batches)
    return LogReport(world.n_requests - n_refused, n_outcomes, n_refused)


def router_for(world: World, artifact: Path) -> Router:
    """The router of an artifact folder with the models of an agents' world only."""
    if world.agents is None:
        raise DatasetError("world: got one without model cards, expected one of agents")
    return Router.load(artifact, catalog=catalog_of(world.agents.cards, as_of="simulated"))


def decision_prefix(world: World, by: str = "") -> str:
    """How the ids of a world's decisions begin; `by` tells apart what decided."""
    kind = "simulated" if world.agents is None else "simulated-agents"
    return "-".join(part for part in (kind, str(world.seed), by) if part)


def request_indices(decision_ids: Iterable[str]) -> NDArray[np.int64]:
    """The world's rows that logged decisions belong to, to look up what is true of them.

    >>> request_indices(["simulated-agents-0-17", "simulated-agents-0-3"])
    array([17,  3])
    """
    return np.array([int(text.rpartition("-")[2]) for text in decision_ids], dtype=np.int64)


def caller_of(world: World, index: int) -> Caller:
    """Who makes request `index`."""
    return Caller(
        tenant=str(world.tenant[index]),
        key=str(world.key[index]) or None,
        session=str(world.session[index]),
    )


def report_rows(reports: Iterable[Report | None], *, tenant: str) -> list[Row]:
    """The outcome rows of what came back."""
    return [
        outcome_row(report.outcome, tenant=tenant, now_ms=report.at_ms)
        for report in reports
        if report is not None
    ]


def _decided(
    play: Playthrough,
    index: int,
    *,
    router: Router,
    caller: Caller,
    overrides: PolicyOverrides,
    terms: Terms,
    kept: Kept | None,
) -> Row:
    """The log row of the router's decision on one request."""
    world = play.world
    arm = None if kept is None else kept.arm(str(world.session[index]))
    request = formats.parse(world.chat_body(index), wire_format=WireFormat.OPENAI_CHAT)
    digest = router.digest(request)
    if world.agents is not None:
        digest = structs.replace(digest, input_tokens=int(world.input_tokens[index]))
    session = play.session_view(index)
    decision: Decision = router.decide(
        digest,
        caller=caller,
        overrides=overrides,
        decision_id=f"{decision_prefix(world)}-{index}",
        session=session,
        terms=terms,
        incumbent=kept.model if kept is not None and arm == "incumbent" else None,
    )
    is_kept = decision.policy == INCUMBENT
    return decision_row(
        decision,
        caller=caller,
        digest=digest,
        request_hash=request_hash(request),
        encoder=router.manifest.encoder,
        session=str(world.session[index]),
        wire_format=WireFormat.OPENAI_CHAT,
        now_ms=int(world.ts_ms[index]),
        overrides=overrides,
        min_adequacy=decision.min_adequacy,
        contract=decision.contract,
        exploration=decision.exploration,
        rollout=None if is_kept else "champion",
        shadow=shadow_row(decision.versions.artifact, decision.shadow) if is_kept else None,
        adoption=None if kept is None else {"arm": arm, "share": kept.share},
        took_us=_TOOK_US,
        situation=logged_situation(session=session, asking=asking_of(digest.outline), load={}),
    )


def _observed(play: Playthrough, index: int, decision: Row) -> list[Row]:
    """The outcome row of the chosen model, none where the world does not know it."""
    if decision["model"] not in play.column:
        return []
    report = play.take(index, decision["model"], decision_id=decision["decision_id"])
    return report_rows([report], tenant=decision["tenant"])
