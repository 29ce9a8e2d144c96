"""Runs the checklist and keeps what was found, whatever ends it."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from tqdm import tqdm

from router_data.probe.budget import BudgetExhaustedError
from router_data.probe.checks_answers import check_json, check_seed
from router_data.probe.checks_cache import check_cache
from router_data.probe.checks_context import check_context
from router_data.probe.checks_errors import check_errors
from router_data.probe.checks_load import check_load
from router_data.probe.checks_retry import check_retry
from router_data.probe.checks_stream import check_streaming
from router_data.probe.checks_tools import check_parallel_tools, check_tool_round_trip
from router_data.probe.client import Client, Record
from router_data.probe.findings import Evidence, Finding, Plan
from router_data.progress import hidden

Check = Callable[[Client, Plan, Evidence], Awaitable[None]]
Status = Literal["pass", "fail", "unknown", "not run"]

# The cheap ones first, so that a small budget answers most of the questions.
CHECKS: Final[dict[str, Check]] = {
    "tool_round_trip": check_tool_round_trip,
    "streaming": check_streaming,
    "parallel_tools": check_parallel_tools,
    "json": check_json,
    "seed": check_seed,
    "cache": check_cache,
    "retry": check_retry,
    "load": check_load,
    "context": check_context,
    "errors": check_errors,
}
QUESTIONS: Final = {
    "tool_round_trip": "a tool call, its result, and an answer that uses it",
    "streaming": "streamed tool calls and a clean end",
    "parallel_tools": "two tool calls in one answer, and forced ones",
    "json": "JSON mode and strict schemas",
    "seed": "seeds honoured",
    "cache": "a second turn reads the prefix from a cache",
    "retry": "a cut and repeated call is billed once",
    "load": "tool-call latency beside other sessions",
    "context": "finds what stands in a long prompt",
    "errors": "errors for mistakes, no silent truncation",
}


@dataclass(frozen=True, slots=True)
class Checked:
    """A check with its finding, and what it took."""

    name: str
    status: Status
    finding: Finding
    n_calls: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0


@dataclass(slots=True)
class Run:
    """A run of checks; `stopped` is why it ended early, empty where it did not."""

    names: tuple[str, ...]
    checked: list[Checked] = field(default_factory=list)
    stopped: str = ""

    @property
    def is_good(self) -> bool:
        """True where every check was run and none failed."""
        return not self.stopped and all(item.status != "fail" for item in self.checked)

    def facts(self) -> dict[str, bool | int | str]:
        """What was observed, by path in the model's card."""
        return {path: value for item in self.checked for path, value in item.finding.facts.items()}

    def complete(self, reason: str) -> None:
        """Say of what is left, and of a check that was cut short, that it was not run."""
        short = f"not run: {reason.split(':')[0]}"
        done = {item.name: item for item in self.checked}
        nothing = Finding("unknown", ())
        items = [done.get(name) or Checked(name, "not run", nothing) for name in self.names]
        if any(item.status == "not run" for item in items):
            self.stopped = reason
        self.checked = [_noted(item, short) if item.status == "not run" else item for item in items]


def _noted(item: Checked, note: str) -> Checked:
    """The check with what it had seen before it was cut short, and why it was."""
    return replace(item, finding=replace(item.finding, evidence=(*item.finding.evidence, note)))


async def run_checks(
    client: Client,
    plan: Plan,
    run: Run,
    *,
    keep: Callable[[Sequence[Record]], None],
    progress: bool = True,
) -> None:
    """Greet the endpoint, then make each check; `keep` gets the calls of each as it ends.

    Where the run is cancelled, `run` holds what was found until then. Raises ProbeError where the
    endpoint does not answer at all.
    """
    try:
        await client.greet()
        with tqdm(
            total=len(run.names), desc="probe", unit="check", disable=hidden(progress)
        ) as bar:
            for name in run.names:
                bar.set_postfix_str(f"{name}, ${client.budget.spent_usd:.4f} spent")
                await _run_one(client, plan, run, name, keep)
                bar.update()
    except BudgetExhaustedError as error:
        run.complete(f"budget: {error}")


async def _run_one(
    client: Client,
    plan: Plan,
    run: Run,
    name: str,
    keep: Callable[[Sequence[Record]], None],
) -> None:
    client.check = name
    first, spent = len(client.records), client.budget.spent_usd
    n_calls, start = client.n_calls, time.perf_counter()
    evidence = Evidence()
    is_whole = False
    try:
        await CHECKS[name](client, plan, evidence)
        is_whole = True
    finally:
        records = client.records[first:]
        finding = evidence.finding()
        usages = [record.answer.usage for record in records if record.answer.usage is not None]
        item = Checked(
            name,
            finding.result if is_whole else "not run",
            finding,
            n_calls=client.n_calls - n_calls,
            input_tokens=sum(usage.input_tokens for usage in usages),
            cached_tokens=sum(usage.cached_tokens for usage in usages),
            output_tokens=sum(usage.output_tokens for usage in usages),
            cost_usd=client.budget.spent_usd - spent,
            seconds=time.perf_counter() - start,
        )
        run.checked.append(item)
        keep(records)
