"""One probe of one endpoint: its connections, its calls in the log, and what it says of itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from router_data.cli_options import chosen_encoder
from router_data.log import SEGMENTS, SegmentWriter, log_dir
from router_data.probe.budget import Budget
from router_data.probe.client import Client, Endpoint, Record
from router_data.probe.findings import Plan
from router_data.probe.log_rows import rows_of
from router_data.probe.runner import Run, run_checks
from router_model.encoder import StaticEncoder
from router_model.errors import InvalidRequestError


class ProbeSession:
    """Runs checks and appends their calls to the log of `state`; close it to end the segment."""

    def __init__(
        self, endpoint: Endpoint, plan: Plan, budget: Budget, state: Path, *, model_id: str
    ) -> None:
        self.endpoint = endpoint
        self.plan = plan
        self.budget = budget
        self.model_id = model_id
        self.n_calls = 0
        self.n_rows = 0
        self.largest_input = 0
        self._state = state
        log = log_dir(state) if (state / SEGMENTS).is_dir() else state / "log"
        self._writer = SegmentWriter(log / SEGMENTS, "probe")
        self._encoder: StaticEncoder | None = None

    async def run(self, run: Run, *, progress: bool) -> None:
        """Make the checks that `run` names; raises ProbeError where nothing answers."""
        import httpx

        limits = httpx.Limits(max_connections=self.plan.sessions + 2)
        # Waiting is bounded for a call as a whole, not for each of its reads.
        async with httpx.AsyncClient(timeout=None, limits=limits) as http:
            client = Client(self.endpoint, self.budget, http)
            try:
                await run_checks(client, self.plan, run, keep=self.keep, progress=progress)
            finally:
                self.n_calls = client.n_calls

    def keep(self, records: Sequence[Record]) -> None:
        """Append the calls of a check to the log."""
        rows = []
        for record in records:
            usage = record.answer.usage
            if usage is not None and record.answer.is_ok:
                self.largest_input = max(self.largest_input, usage.input_tokens)
            try:
                rows += rows_of(
                    record,
                    model=self.model_id,
                    dialect=self.endpoint.dialect,
                    encoder=self._loaded(),
                )
            except InvalidRequestError:
                # A model's own broken tool call, sent back to it, is no request of ours.
                continue
        self._writer.append(rows)
        self.n_rows += len(rows)

    def close(self) -> None:
        """End the segment, so that it may be compacted."""
        self._writer.close()

    def about(self, at: str) -> dict[str, Any]:
        """What was probed, and on which terms; never the key."""
        price = self.endpoint.price
        return {
            "model": self.model_id,
            "sent_as": self.endpoint.model,
            "base_url": _without_login(self.endpoint.base_url),
            "format": self.endpoint.dialect,
            "at": at,
            "run": self.plan.nonce,
            "seed": self.plan.seed,
            "context_tokens": self.plan.context_tokens,
            "sessions": self.plan.sessions,
            "price_input": price.input,
            "price_output": price.output,
            "max_usd": self.budget.max_usd,
            "spent_usd": round(self.budget.spent_usd, 6),
            "n_calls": self.n_calls,
        }

    def _loaded(self) -> StaticEncoder:
        """The encoder of the state's artifact, else the shipped one."""
        if self._encoder is None:
            self._encoder = chosen_encoder(None, self._state)
        return self._encoder


def _without_login(url: str) -> str:
    """The address without a name and password that it may carry."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))
