"""Questions to the log: one decision explained, and what was spent.

DuckDB works in one thread beside the event loop; the log's writer is asked first to flush, so
that a decision can be explained as soon as it was answered.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from prometheus_client import Gauge

from router_data.log_tail import newest_answers
from router_model.errors import InvalidRequestError, LogError
from router_serving.errors import DecisionNotFoundError, OverloadedError
from router_serving.recent import RecentAnswers
from router_serving.settings import Settings
from router_serving.writer import LogWriter

if TYPE_CHECKING:
    from router_data.store import Store
    from router_model.router import Router

T = TypeVar("T")
RECALL_MS = 3_600_000
MAX_QUESTIONS = 32
"""Questions that may wait, the one under way included: each may take seconds of a long log."""
SPEND_GROUPS = {
    **{"user": '"user"', "key": '"key"', "session": '"session"'},
    **{"tenant": "tenant", "model": "model"},
}
SPEND = """
    with expected as (
        select tenant, decision_id, "user", "key", "session", model,
               list_filter(
                   from_json(candidates, '[{{"model":"VARCHAR","expected_cost":"DOUBLE"}}]'),
                   lambda candidate: candidate.model = decisions.model
               )[1].expected_cost as cost_usd
        from decisions where dataset is null and (? is null or tenant = ?)
    ), reported as (
        select tenant, decision_id, model, cost_usd from outcomes where cost_usd is not null
    ), costs as (
        select e.tenant, e.decision_id, e."user", e."key", e."session",
               coalesce(r.model, e.model) as model,
               coalesce(r.cost_usd, e.cost_usd, 0.0) as cost_usd, r.cost_usd is null as is_expected
        from expected e left join reported r using (tenant, decision_id)
    )
    select {group} as "group", count(distinct decision_id) as n_decisions,
           sum(cost_usd) as cost_usd,
           coalesce(sum(cost_usd) filter (not is_expected), 0.0) as reported_usd,
           coalesce(sum(cost_usd) filter (is_expected), 0.0) as expected_usd,
           bool_or(is_expected) as is_estimated
    from costs group by all order by cost_usd desc, "group"
"""
_TENANTS = "select distinct tenant from decisions where decision_id = ?"
# 60,000 decisions that are not compacted yet take it; deciding goes on beside.
MEMORY_MB = 1024


class History:
    """Reads the log that the service writes; open it once per process."""

    def __init__(self, settings: Settings, *, writer: LogWriter) -> None:
        self._log_dir = settings.log_dir
        self._writer = writer
        self._left_out = Gauge(
            "router_log_left_out",
            "Corrupt lines and damaged files that the last question to the log left out",
            ["of"],
            registry=writer.metrics.registry,
            multiprocess_mode="livemax",
        )
        self._store: Store | None = None
        self._n_asked = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="log-reader")

    async def explanation(
        self, decision_id: str, *, tenant: str | None, router_of: Callable[[str], "Router"]
    ) -> Mapping[str, Any]:
        """The decision with its outcomes and reasons; DecisionNotFoundError if there is none.

        `router_of` gives the router of an artifact version, or the nearest that is at hand.
        """
        if tenant is None:
            tenant = await self._only_tenant(decision_id)
        row = await self._ask(lambda store: store.decision(decision_id, tenant=tenant))
        if row is None:
            raise DecisionNotFoundError(decision_id)
        artifact = (row.get("versions") or {}).get("artifact") or ""
        return router_of(artifact).explain(row)

    async def spend(self, group_by: str, *, tenant: str | None = None) -> list[dict[str, Any]]:
        """Cost in US dollars by group, dearest first; of one tenant alone if it is named.

        A decision counts with what its outcomes reported, and where they reported no cost with
        what was expected; `is_estimated` says that a sum holds such estimates. LogError where a
        part of the log is damaged: a sum without it would be wrong.
        """
        sql = SPEND.format(group=SPEND_GROUPS[group_by])
        return await self._ask(lambda store: _whole(store, sql, [tenant, tenant]))

    async def recall(self, recent: RecentAnswers) -> int:
        """Fill `recent` with the last hour of the log; returns how many answers it holds now.

        Read from the ends of the segments: a start takes no longer where the log is long.
        """
        since_ms = time.time_ns() // 1_000_000 - RECALL_MS
        with suppress(LogError):  # what is on disk can still be read
            await self._writer.commit(())
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(
            self._thread,
            lambda: recent.recall(newest_answers(self._log_dir, since_ms=since_ms)),
        )
        return len(recent)

    def close(self) -> None:
        """Wait for the question under way, then stop."""
        self._thread.shutdown()

    async def _only_tenant(self, decision_id: str) -> str:
        rows = await self._ask(lambda store: store.query(_TENANTS, [decision_id]))
        if not rows:
            raise DecisionNotFoundError(decision_id)
        if len(rows) > 1:
            allowed = "a tenant: several have this decision_id"
            raise InvalidRequestError("x-router-tenant", None, allowed)
        return str(rows[0]["tenant"])

    async def _ask(self, question: Callable[["Store"], T]) -> T:
        if self._n_asked >= MAX_QUESTIONS:
            raise OverloadedError(
                f"questions to the log: {self._n_asked} wait already, expected fewer than "
                f"{MAX_QUESTIONS}"
            )
        self._n_asked += 1
        try:
            with suppress(LogError):  # what is on disk can still be read
                await self._writer.commit(())
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, lambda: self._answer(question))
        finally:
            self._n_asked -= 1

    def _answer(self, question: Callable[["Store"], T]) -> T:
        store = self._open()
        answer = question(store)
        self._left_out.labels("lines").set(store.damage.n_lines)
        self._left_out.labels("files").set(len(store.damage.files))
        return answer

    def _open(self) -> "Store":
        if self._store is None:
            from router_data.store import Store  # duckdb: only where somebody asks

            # A damaged file of last year doesn't keep today's decisions from being explained.
            self._store = Store(self._log_dir, skip_damaged=True, memory_mb=MEMORY_MB)
        return self._store


def _whole(store: "Store", sql: str, params: list[str | None]) -> list[dict[str, Any]]:
    """The answer, if nothing was left out of it but corrupt lines."""
    rows = store.query(sql, params)
    if store.damage.files:
        names = ", ".join(store.damage.files)
        raise LogError(f"damaged Parquet files: {names}: `router-data repair` sets them aside")
    return rows
