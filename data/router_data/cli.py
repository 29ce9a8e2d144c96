"""The command line `router-data`."""

from pathlib import Path
from typing import Annotated

import typer

from router_data.catalog_cli import catalog_app
from router_data.cli_options import DEFAULT_STATE, State, existing, reported
from router_data.import_cli import import_command
from router_data.probe_cli import probe_command
from router_data.replay_cli import replay_command
from router_data.simulate_cli import simulate_command
from router_data.store import Store
from router_data.summary import summarize, summary_lines
from router_data.upkeep_cli import (
    compact_command,
    repair_command,
    retain_command,
    snapshot_command,
    verify_command,
)

app = typer.Typer(
    name="router-data",
    help="The log of decisions and outcomes: import, check, repair, compact, count, export.",
    epilog="Examples: router-data import --format litellm spend.csv --state ./var; "
    "router-data stats --state ./var; router-data compact --state ./var",
    no_args_is_help=True,
    add_completion=False,
)
app.add_typer(catalog_app, name="catalog")
app.command("import")(import_command)
app.command("probe")(probe_command)
app.command("replay")(replay_command)
app.command("simulate")(simulate_command)
app.command("compact")(compact_command)
app.command("verify")(verify_command)
app.command("repair")(repair_command)
app.command("retain")(retain_command)
app.command("snapshot")(snapshot_command)

EXPORTS = {
    "decisions": "select * from decisions order by tenant, decision_id",
    "outcomes": "select * from outcomes order by tenant, decision_id, attempt",
    "rounds": "select * from rounds order by tenant, decision_id, attempt",
    "quarantine": "select * from quarantine order by tenant, decision_id, attempt",
}


@app.command()
def stats(state: State = DEFAULT_STATE) -> None:
    """Print rows, feedback, tenants, models, adequacy rates, spend, files and what is unusable.

    Example: router-data stats --state ./var
    """
    with reported():
        summary = summarize(existing(state))
    for line in summary_lines(summary):
        typer.echo(line)


@app.command()
def export(
    what: Annotated[str, typer.Argument(help="decisions, outcomes, rounds or quarantine.")],
    out: Annotated[Path, typer.Argument(help="File to write, ending in .parquet or .csv.")],
    state: State = DEFAULT_STATE,
) -> None:
    """Write decisions, outcomes, rounds or the quarantine to a file.

    Rounds are outcomes joined to decisions; the quarantine lists rows that are never learned
    from, with the reason.

    Example: router-data export rounds rounds.parquet --state ./var
    """
    if what not in EXPORTS:
        raise typer.BadParameter(f"got {what!r}, expected {', '.join(EXPORTS)}")
    if out.suffix not in (".parquet", ".csv"):
        raise typer.BadParameter(f"{out}: expected a name ending in .parquet or .csv")
    if not out.parent.is_dir():
        raise typer.BadParameter(f"{out.parent}: no such folder, expected an existing one")
    with reported(), Store(existing(state)) as store:
        n_rows = store.export(EXPORTS[what], (), out)
    typer.echo(f"{n_rows} rows written to {out}")
