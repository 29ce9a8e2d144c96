"""Run the trials and keep their table."""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from router_battery import report
from router_battery.registry import TRIALS, summary, trial
from router_battery.trial import NotRunError, Scale, Tried

EPILOG = "Example: python -m router_battery --only kill9 --only sigterm --out var/battery.md"

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog=EPILOG)
def battery(
    short: Annotated[bool, typer.Option("--short", help="The small form of each trial.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="A trial to run [all].")] = None,
    out: Annotated[Path, typer.Option(help="Markdown; JSON goes beside it.")] = Path(
        "var/battery.md"
    ),
    minutes: Annotated[float, typer.Option(min=0.1, help="Length of the soak.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    show: Annotated[bool, typer.Option("--list", help="Say what there is, and end.")] = False,
) -> None:
    """Do faults to the service and count what breaks.

    Rows of trials that are not run this time are kept. Exit codes: 0 all passed, 1 one failed,
    2 usage.
    """
    if show:
        for name in TRIALS:
            typer.echo(f"{name:18} {summary(name)}")
        return
    names = only or list(TRIALS)
    if unknown := sorted(set(names) - set(TRIALS)):
        raise typer.BadParameter(f"{unknown[0]}: expected one of {', '.join(TRIALS)}")
    rows = []
    with tqdm(names, unit="trial", disable=None) as bar:
        for name in bar:
            bar.set_description(name)
            scale = Scale(is_short=short, minutes=minutes, seed=seed, say=bar.set_postfix_str)
            rows.append(_row(name, scale))
            tqdm.write(report.terminal(rows[-1]))
            report.write(out, report.merged(out.with_suffix(".json"), rows))
    failed = [row.name for row in rows if not row.passed]
    typer.echo(f"\n{len(rows) - len(failed)} of {len(rows)} passed; the table is in {out}")
    if failed:
        raise typer.Exit(1)


def _row(name: str, scale: Scale) -> report.Row:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"battery-{name}-") as folder:
        try:
            tried = trial(name).run(scale, Path(folder))
        except NotRunError as reason:
            tried = Tried(tried={}, seen={}, not_run=str(reason))
        except Exception as error:  # noqa: BLE001  # the other trials are still worth running
            tried = Tried(tried={}, seen={}, failed=[f"{type(error).__name__}: {error}"])
    seconds = time.monotonic() - began
    return report.row_of(name, tried, is_short=scale.is_short, seconds=seconds)
